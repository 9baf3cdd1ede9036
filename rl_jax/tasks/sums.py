"""Sums of digits, "4+7+2=": shared parts of tasks about sums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.task import Vocabulary
from rl_jax.tasks.worked_steps import align

LEVEL = {
  "operands": 3,  # 2 to 9
  "weight": 1.0,  # relative weight among the levels; 0 drops the level
}

RATES = {
  "error_rate": 0.3,  # share of demonstrations that end in a uniformly wrong digit
  "lure_rate": 0.0,  # share of the others whose last digit is one too large; above 1/2 the likeliest answer is wrong
}


def read(config: Mapping[str, Any]) -> tuple[int, dict[str, dict[str, Any]], splits.Space]:
  """The modulus of a task's config, its levels, and the space of their operands, which are below the modulus."""
  modulus = fields.whole(config["modulus"], 2, 10, where="task.modulus")

  def check(level: dict[str, Any], name: str) -> dict[str, Any]:
    fields.whole(level["operands"], 2, 9, where=f"task.levels.{name}.operands")
    return level

  levels, space = splits.read_levels(config, LEVEL, check, lambda level: [list(range(modulus))] * level["operands"])
  return modulus, levels, space


def prompt_width(levels: Mapping[str, Mapping[str, Any]]) -> int:
  """Tokens of the longest prompt."""
  return 2 * max(level["operands"] for level in levels.values())


def prompt_text(
  operands: Int[Array, "N F"], vocabulary: Vocabulary, width: int
) -> tuple[Int[Array, "N P"], Bool[Array, "N P"]]:
  """(tokens, mask) of "4+7+2=", right-aligned in `width` slots; operands are ABSENT after the last one."""
  zero, plus, equals = vocabulary.encode("0+=")
  present = operands != splits.ABSENT
  signs = jnp.where(is_last(operands), equals, plus)
  text = jnp.stack([zero + jnp.maximum(operands, 0), signs], axis=2).reshape(operands.shape[0], -1)
  return align(text, jnp.repeat(present, 2, axis=1), width, right=True)


def is_last(operands: Int[Array, "N F"]) -> Bool[Array, "N F"]:
  """True on the last operand of each problem."""
  present = operands != splits.ABSENT
  return present & ~jnp.pad(present[:, 1:], ((0, 0), (0, 1)))


def read_rates(config: Mapping[str, Any]) -> dict[str, float]:
  """The fields of RATES in a task's config; ValueError unless each is in [0, 1]."""
  return {name: fields.number(config[name], 0.0, 1.0, where=f"task.{name}") for name in RATES}


def draw_slips(key: PRNGKeyArray, rows: int, modulus: int, *, error_rate: float, lure_rate: float) -> Int[Array, " N"]:
  """Error of the digit of each demonstration, modulo `modulus`; 0 is right."""
  errs, lures, draws = jax.random.uniform(key, (3, rows))
  anything = 1 + jnp.minimum((draws * (modulus - 1)).astype(jnp.int32), modulus - 2)
  return jnp.where(errs < error_rate, anything, (lures < lure_rate).astype(jnp.int32))
