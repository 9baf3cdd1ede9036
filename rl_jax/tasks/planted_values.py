"""Exact values of a prover of the task planted.py: its probability of writing the target, before and after each token.

The prover of strength gamma writes the next word of the target with weight gamma and any other token with weight 1. The
state of a prefix is the number of words of the target that it ends in. Dynamic programming over these states and the
remaining tokens gives V exactly (rl_jax/kernels/analysis/planted_prover.py, arXiv 2410.08146). The value of a
finished response is its reward.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from rl_jax.kernels.analysis import planted_values
from rl_jax.tasks.task import Prompts, StepValues, Vocabulary

FIRST_WORD = max(Vocabulary.pad_id, Vocabulary.end_id) + 1
"""Id of the word 0; those of the others follow."""


class Response(NamedTuple):
  """Words read from responses."""

  words: Int[Array, "B R"]
  """Index of each word; the number of words stands for the end token, and for all that is no word."""
  inside: Bool[Array, "B R"]
  """The masked slots up to the first that is not masked, and up to the first token that is no word, which is inside."""


def read(tokens: Int[Array, "B R"], mask: Bool[Array, "B R"], words: int) -> Response:
  """Read responses over a vocabulary of `words` words."""
  index = tokens - FIRST_WORD
  is_word = (index >= 0) & (index < words)
  ended = jnp.cumsum(~mask | ~is_word, axis=1)
  inside = mask & (jnp.pad(ended[:, :-1], ((0, 0), (1, 0))) == 0)
  return Response(jnp.where(is_word, index, words), inside)


def prover_values(
  prompts: Prompts,
  tokens: Int[Array, "B R"],
  mask: Bool[Array, "B R"],
  gamma: float,
  *,
  target: tuple[int, ...],
  words: int,
  length: int,
) -> StepValues:
  """Values of the prover of strength `gamma` before and after each token; 0 outside of responses.

  Args:
    target: indices of its words.
    words: number of them, beside the end token.
    length: most tokens of a response.
  """
  del prompts  # there is one
  response = read(tokens, mask, words)
  found = planted_values(
    response.words, jnp.array(target), response.inside, length=length, vocab_size=words + 1, eos=words, gamma=gamma
  )
  before = jnp.concatenate([found.initial_values[:, None], found.values[:, :-1]], axis=1)
  return StepValues(jnp.where(response.inside, before, 0.0), found.values)
