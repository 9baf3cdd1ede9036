"""Task of fixed lengths for benchmarks: random prompts, and responses without an end token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from rl_jax.tasks import fields
from rl_jax.tasks.task import DeviceTask, Prompts, Verdicts, Vocabulary


def get_config() -> dict[str, Any]:
  """Fields and their defaults."""
  return {"prompt_tokens": 16, "response_tokens": 32, "words": 64}


class _Endless(Vocabulary):
  """Vocabulary without an end token, so that all responses have the same length."""

  end_id = -1


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`): the reward is 1 for an even first token."""
  config = fields.complete(config, get_config(), where="task")
  width, words = config["prompt_tokens"], config["words"]

  def prompts(ids, split):
    del split
    tokens = jax.vmap(lambda i: jax.random.randint(jax.random.key(i), (width,), 2, words))(ids)
    level = jnp.zeros(ids.shape, jnp.int32)
    return Prompts(tokens, jnp.ones(tokens.shape, bool), ids, level, {})

  def verify(prompts, tokens, mask):
    rows = jnp.ones(tokens.shape[0], bool)
    return Verdicts((tokens[:, 0] % 2 == 0).astype(jnp.float32), rows, jnp.zeros(tokens.shape, jnp.int32), {})

  return DeviceTask(
    vocabulary=_Endless(tuple(chr(ord("0") + i) for i in range(words))),
    prompt_tokens=width,
    response_tokens=config["response_tokens"],
    levels=("fixed",),
    problem_ids=lambda key, n, split: jax.random.randint(key, (n,), 0, 1 << 30),
    prompts=prompts,
    verify=verify,
    demonstrate=lambda key, prompts: (prompts.tokens, prompts.mask),
  )
