"""True values of the steps of chains: the chance that a response which goes on from there ends in the right answer.

A response that is worked out step by step is a Markov chain whose state is the value stated last. With p_o the chances
that the policy is off by s at an operator o, and p_# those at the answer,

  W_S(v) = p_#(answer - v)                             before the answer
  W_k(v) = sum_s p_{o_k}(s) W_{k+1}(v o_k b_k + s)     before operation k, all modulo m

V after a step that states v for operation k is W_{k+1}(v), but 0 where the slots that are left do not hold the steps to
come and the answer; of a step that is malformed the mean reward of the rows that hold one; and after the last step of a
response that has ended its reward. The slips p are counted over the batch, for
each level and operator, so W is exact for a policy whose slips depend on nothing else and which takes the operations in
turn; errors that cancel one another count. A slip that was never seen has no chance, an operator that was never seen is
right.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.tasks import splits, worked_steps
from rl_jax.tasks.task import Prompts, StepValues, Verdicts

_OPERATORS = 3
ANSWER = _OPERATORS
"""Stands where the index of an operator does: the answer states the last value again."""


def applied(operator: Array, value: Array, operand: Array) -> Array:
  """`value` "+", "-" or "*" `operand`, by the index of the operator, before the modulus is taken."""
  return jnp.where(operator == 0, value + operand, jnp.where(operator == 1, value - operand, value * operand))


class _Steps(NamedTuple):
  """Steps at the slots where they begin, [B, R]."""

  starts: Bool[Array, "B R"]
  operations: Int[Array, "B R"]
  """The operation that the step names; the number of operations for the answer."""
  values: Int[Array, "B R"]
  """What it states, -1 if malformed."""
  last: Bool[Array, "B R"]
  """The response has no step after it."""


def step_values(
  prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"], whole: Bool[Array, " B"], *, modulus: int
) -> StepValues:
  """Values before and after each token's step.

  Args:
    whole: rows that have ended, so that their last step is worth their reward.
    modulus: the largest of the levels.
  """
  verdicts = worked_steps.verify(prompts, tokens, mask)
  steps = _steps(prompts, tokens, verdicts)
  held = _before(steps, prompts)
  chances = _chances(prompts, steps, held, verdicts, whole, modulus)
  values = _values(prompts, chances, modulus)

  malformed = steps.starts & (steps.values < 0)
  rows = malformed.any(axis=1) & whole
  of_malformed = jnp.sum(jnp.where(rows, verdicts.rewards, 0.0)) / jnp.maximum(rows.sum(), 1)
  counts = prompts.facts["step_counts"][:, None]
  named = (steps.operations >= 0) & (steps.operations < counts)
  fits = _room(steps, prompts) >= 0
  going_on = jnp.where(fits, _at(values, steps.operations + 1, steps.values), 0.0)
  after = jnp.where(named & (steps.values >= 0), going_on, of_malformed)
  after = jnp.where(steps.last & whole[:, None], verdicts.rewards[:, None], after)
  first = values[:, 0, :][jnp.arange(len(tokens)), prompts.facts["operands"][:, 0]]

  source = jax.lax.cummax(jnp.where(steps.starts, jnp.arange(tokens.shape[1]), -1), axis=1)
  inside = verdicts.step_ids >= 0
  spread = lambda x: jnp.where(inside, jnp.take_along_axis(x, jnp.maximum(source, 0), axis=1), 0.0)
  after = spread(after)
  before = jnp.where(_shifted(verdicts.step_ids, -1) >= 0, _shifted(after, 0.0), first[:, None])
  return StepValues(spread(before), after)


def _shifted(x: Array, fill: float) -> Array:
  return jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=fill)


def _steps(prompts: Prompts, tokens: Int[Array, "B R"], verdicts: Verdicts) -> _Steps:
  ids, extras = verdicts.step_ids, verdicts.extras
  starts = (ids >= 0) & (ids != _shifted(ids, -1))
  is_answer = starts & (extras["step_operations"] < 0)
  operations = jnp.where(is_answer, prompts.facts["step_counts"][:, None], extras["step_operations"])
  stated = worked_steps.stated_values(tokens, prompts.facts["value_widths"])
  # An answer that is right to the end token alone is right: "#8" that goes on states nothing.
  wrong = stated != prompts.facts["answers"][:, None]
  stated = jnp.where(is_answer & ~wrong & ~verdicts.extras["answer_correct"][:, None], -1, stated)
  values = jnp.where(is_answer, stated, extras["step_values"])
  values = jnp.where(values < prompts.facts["moduli"][:, None], values, -1)  # 9 modulo 7 is no value
  return _Steps(starts, operations, values, starts & (ids == ids.max(axis=1, keepdims=True)))


def _room(steps: _Steps, prompts: Prompts) -> Int[Array, "B R"]:
  """Slots that are left over when all operations after a step's, and the answer, have been written behind it."""
  facts, slots = prompts.facts, jnp.arange(steps.starts.shape[1])
  step = 1 + facts["value_widths"][:, None]
  to_come = facts["step_counts"][:, None] - steps.operations - 1
  return len(slots) - (slots + step) - to_come * step - (step + 1)


def _before(steps: _Steps, prompts: Prompts) -> tuple[Int[Array, "B R"], Int[Array, "B R"]]:
  """(operation, value) of the step before each one that begins; -1 and the first operand before the first."""
  slots = jnp.arange(steps.starts.shape[1])
  source = _shifted(jax.lax.cummax(jnp.where(steps.starts, slots, -1), axis=1), -1)
  take = lambda x: jnp.take_along_axis(x, jnp.maximum(source, 0), axis=1)
  nothing = source < 0
  operands = prompts.facts["operands"][:, :1]
  return jnp.where(nothing, -1, take(steps.operations)), jnp.where(nothing, operands, take(steps.values))


def _chances(
  prompts: Prompts, steps: _Steps, held: tuple[Array, Array], verdicts: Verdicts, whole: Bool[Array, " B"], modulus: int
) -> Float[Array, "B 4 M"]:
  """Chances of each slip at each operator and at the answer, of the row's level; what fails has none."""
  facts, levels = prompts.facts, prompts.levels
  moduli = facts["moduli"][:, None]
  seen, value = held
  in_turn = steps.starts & (steps.operations == seen + 1) & (value >= 0)
  operators, exact = _next(facts, seen, value)
  slips = jnp.where(steps.values >= 0, (steps.values - exact) % moduli, modulus)  # malformed: in a column of its own
  at_end = steps.last & whole[:, None] & (steps.operations < facts["step_counts"][:, None]) & (steps.values >= 0)
  ended, _ = _next(facts, steps.operations, steps.values)  # a response that ended before what comes next

  counts = jnp.zeros((len(levels), _OPERATORS + 1, modulus + 1))
  rows = jnp.arange(len(levels))[:, None]
  counts = counts.at[rows, operators, slips].add(in_turn.astype(jnp.float32))
  counts = counts.at[rows, ended, modulus].add(at_end.astype(jnp.float32))
  same = (levels[:, None] == levels).astype(jnp.float32)
  pooled = jnp.einsum("bc,cos->bos", same, counts, precision="highest")
  total = pooled.sum(axis=2, keepdims=True)
  right = jnp.zeros(modulus).at[0].set(1.0)
  return jnp.where(total > 0, pooled[..., :modulus] / jnp.maximum(total, 1.0), right)


def _next(facts, operations: Int[Array, "B R"], values: Int[Array, "B R"]) -> tuple[Array, Array]:
  """(operator, exact value) of what follows an operation: the next one, or the answer."""
  after = operations + 1
  index = jnp.clip(after, 0, facts["operators"].shape[1] - 1)
  operators = jnp.take_along_axis(facts["operators"], index, axis=1)
  operands = jnp.take_along_axis(facts["operands"], index + 1, axis=1)
  is_answer = after >= facts["step_counts"][:, None]
  exact = jnp.where(is_answer, values, applied(operators, values, operands) % facts["moduli"][:, None])
  return jnp.where(is_answer, ANSWER, operators), exact


def _values(prompts: Prompts, chances: Float[Array, "B 4 M"], modulus: int) -> Float[Array, "B S+1 M"]:
  """W_k(v) for every k and v."""
  facts, every = prompts.facts, jnp.arange(modulus)
  moduli = facts["moduli"][:, None]
  of_value = lambda x, index: jnp.take_along_axis(x, index, axis=1)
  last = of_value(chances[:, ANSWER], (facts["answers"][:, None] - every) % moduli)

  def back(ahead, inputs):
    operator, operand = inputs
    exact = applied(operator[:, None], every, operand[:, None])
    reached = (exact[..., None] + every) % moduli[..., None]  # [B, M, M]: from v, off by s
    chance = jnp.take_along_axis(chances, jnp.maximum(operator, 0)[:, None, None], axis=1)
    found = jnp.sum(chance * of_value(ahead, reached.reshape(len(operator), -1)).reshape(reached.shape), axis=2)
    found = jnp.where((operator == splits.ABSENT)[:, None], ahead, found)
    return found, found

  steps = facts["operators"].T, facts["operands"][:, 1:].T
  _, found = jax.lax.scan(back, last, steps, reverse=True)
  return jnp.concatenate([found.transpose(1, 0, 2), last[:, None]], axis=1)


def _at(values: Float[Array, "B S+1 M"], places: Int[Array, "B R"], stated: Int[Array, "B R"]) -> Float[Array, "B R"]:
  rows = jnp.arange(values.shape[0])[:, None]
  return values[rows, jnp.clip(places, 0, values.shape[1] - 1), jnp.clip(stated, 0, values.shape[2] - 1)]
