"""Addition of two numbers, written digit by digit.

In "34+58=" a step is a letter, the digit of the sum and the carry, from the least significant digit on: 4+8 = 12 is
"a21" (digit 2, carry 1), 3+5+1 = 9 is "b90". So "a21b90#92<end>" is a full response (`worked_steps` has the format). A
step's value is the two-digit number as written, 10 * digit + carry. Both operands have all digits of their level (no
leading zeros, except the number 0 itself); the answer is the sum in ordinary order without leading zeros.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits, worked_steps
from rl_jax.tasks.task import DeviceTask, Prompts, Split

MOST_DIGITS = 9
"""Largest number of digits, for which sums fit in int32."""

_LEVEL = {
  "digits": 3,  # of each operand, 1 to 9
  "weight": 1.0,  # relative weight among the levels; 0 drops the level
}
_VOCABULARY = worked_steps.vocabulary("+=")
_VALUE_WIDTH = 2  # a digit and a carry
_OUTCOMES = 20  # ten digits with and without carry


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level may omit any of its fields."""
  return {
    "levels": {"three": dict(_LEVEL)},  # fields of each level, by name
    "seed": 0,  # seed of the problems
    "pool_size": 0,  # number of problems per split; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all problems, 1/64 to 1/2
    "spare_tokens": 6,  # room for re-checks, beyond writing all steps once
    **worked_steps.RATES,
  }


@dataclasses.dataclass(frozen=True)
class _Additions:
  space: splits.Space
  most_digits: int
  prompt_tokens: int
  response_tokens: int
  rates: dict[str, float]


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  levels = {
    name: fields.complete(level, _LEVEL, where=f"task.levels.{name}")
    for name, level in fields.named(config["levels"], where="task.levels").items()
  }
  for name, level in levels.items():
    fields.whole(level["digits"], 1, MOST_DIGITS, where=f"task.levels.{name}.digits")
  space = splits.build_space(
    {name: _choices(level["digits"]) for name, level in levels.items()},
    [level["weight"] for level in levels.values()],
    seed=config["seed"], pool_size=config["pool_size"], held_out_fraction=config["held_out_fraction"],
  )  # fmt: skip
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  most = max(level["digits"] for level in levels.values())
  additions = _Additions(
    space=space,
    most_digits=most,
    prompt_tokens=2 * most + 2,
    response_tokens=spare + worked_steps.response_length(most, _VALUE_WIDTH, most + 1),
    rates=worked_steps.check_rates(config),
  )
  return DeviceTask(
    vocabulary=_VOCABULARY,
    prompt_tokens=additions.prompt_tokens,
    response_tokens=additions.response_tokens,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, additions),
    verify=worked_steps.verify,
    forced_answer=worked_steps.FORCED_ANSWER,
    demonstrate=partial(_demonstrate, additions),
    solutions=partial(worked_steps.solutions, additions.response_tokens),
    provides=worked_steps.PROVIDES,
  )


def _choices(digits: int) -> list[list[int]]:
  """Choices of the content fields: digits of both operands in turn, least significant first, no leading 0."""
  leading = list(range(1 if digits > 1 else 0, 10))
  return [list(range(10))] * (2 * digits - 2) + [leading] * 2


def _prompts(additions: _Additions, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(additions.space, ids, split)
  digits = jnp.stack([content[:, 0::2], content[:, 1::2]], axis=1)  # [N, 2 operands, D], least significant first
  counts = jnp.sum(digits[:, 0] != splits.ABSENT, axis=1, dtype=jnp.int32)
  values, answers = _work_out(digits, jnp.zeros_like(digits[:, 0]))
  metadata = worked_steps.metadata(
    values, counts, jnp.full_like(counts, _VALUE_WIDTH), answers, _answer_tokens(additions, answers)
  )
  metadata |= {"digits": digits}

  leading_first = digits[:, :, ::-1]
  characters = jnp.pad(jnp.maximum(leading_first, 0) + _VOCABULARY.encode("0")[0], ((0, 0), (0, 0), (0, 1)))
  characters = characters.at[:, :, -1].set(jnp.asarray(_VOCABULARY.encode("+=")))
  keep = jnp.pad(leading_first != splits.ABSENT, ((0, 0), (0, 0), (0, 1)), constant_values=True)
  n = ids.shape[0]
  tokens, mask = worked_steps.align(characters.reshape(n, -1), keep.reshape(n, -1), additions.prompt_tokens, right=True)
  return Prompts(tokens=tokens, mask=mask, ids=ids, levels=levels, metadata=metadata)


def _work_out(digits: Int[Array, "N 2 D"], slips: Int[Array, "N D"]) -> tuple[Int[Array, "N D"], Int[Array, " N"]]:
  """(values, answers): 10 * digit + carry of each place, and the number formed by the digits and the last carry.

  A slip shifts a place among the 20 pairs of digit and carry; the next place continues with the stated carry.
  """

  def place(state, inputs):
    carry, answer, power = state
    first, second, slip = inputs
    total = first + second + carry
    outcome = (2 * (total % 10) + total // 10 + slip) % _OUTCOMES
    digit, carry_out = outcome // 2, outcome % 2
    state = carry_out, answer + digit * power, power * 10
    present = first != splits.ABSENT
    state = tuple(jnp.where(present, new, old) for new, old in zip(state, (carry, answer, power), strict=True))
    return state, 10 * digit + carry_out

  zero = jnp.zeros_like(digits[:, 0, 0])
  inputs = (digits[:, 0].T, digits[:, 1].T, slips.T)
  (carry, answers, power), values = jax.lax.scan(place, (zero, zero, zero + 1), inputs)
  return values.T, answers + carry * power


def _answer_tokens(additions: _Additions, answers: Int[Array, " N"]) -> Int[Array, "N A"]:
  most = additions.most_digits + 1
  return worked_steps.number_tokens(answers, worked_steps.decimal_length(answers, most), most)


def _demonstrate(additions: _Additions, key: PRNGKeyArray, prompts: Prompts):
  digits = prompts.metadata["digits"]
  outcomes = jnp.full(digits.shape[:1], _OUTCOMES)
  flaws = worked_steps.draw_flaws(key, digits.shape[2], outcomes, **additions.rates)
  values, answers = _work_out(digits, flaws.slips)
  answer_tokens = _answer_tokens(additions, answers)
  return worked_steps.write(prompts.metadata, values, answer_tokens, flaws.copies, additions.response_tokens)
