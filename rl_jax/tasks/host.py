"""A host task: problems are text, and a verifier in Python scores the responses between compiled programs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks.task import Prompts, Split, Verdicts


@dataclasses.dataclass(frozen=True)
class HostTask:
  """The Python counterpart of `rl_jax.tasks.task.DeviceTask`; `problem_ids` alone runs under jit.

  Attributes:
    vocabulary: tokenizer with pad_id, end_id, len, encode and decode.
    prompt_tokens, response_tokens: static widths P and R.
    levels: names of the data sets or difficulty levels.
    sizes: number of problems of each split; ids count from 0.
    fingerprint: hash of the prepared data.
    problem_ids: (key, n, split) -> ids [n].
    prompts: (ids [N], split) -> Prompts of NumPy arrays, left-padded.
    verify: (ids of the B rows, split, tokens [B, R], mask [B, R]) -> Verdicts of NumPy arrays. On the held-out split
      the rewards are the task's own score alone, without format or length terms.
    close: ends the verifier's workers.
  """

  vocabulary: Any
  prompt_tokens: int
  response_tokens: int
  levels: tuple[str, ...]
  sizes: Mapping[Split, int]
  fingerprint: str
  problem_ids: Callable[[PRNGKeyArray, int, Split], Int[Array, " n"]]
  prompts: Callable[[np.ndarray, Split], Prompts]
  verify: Callable[[np.ndarray, Split, Int[np.ndarray, "B R"], Bool[np.ndarray, "B R"]], Verdicts]
  close: Callable[[], None]

  def given(self, prompts: Prompts) -> HostTask:
    """The task as a compiled program sees it: its prompts are the ones that Python made for this call."""
    return dataclasses.replace(self, prompts=lambda ids, split: prompts)
