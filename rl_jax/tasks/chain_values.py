"""True values of the steps of chains: the probability that a continuation from there ends in the right answer.

A step-by-step response is a Markov chain. Its state is the last stated value v and the number e of repeated steps. From
there it continues with the next operation o, off by s with probability p_oe(s), or repeats the last step, off by s with
probability r_oe(s). With # for the answer in place of an operation,

  W_Se(v) = p_#e(answer - v)                              + sum_s r_#e(s) W_S,e+1(v + s)       before the answer
  W_ke(v) = sum_s p_{o_k}e(s) W_k+1,e(v o_k b_k + s)      + sum_s r_{o_k}e(s) W_k,e+1(v + s)   before operation k

all modulo m, and 0 if the slots cannot hold e repeated steps. V after a step that states v for operation k is
W_{k+1,e}(v), or 0 if the remaining slots cannot hold the remaining steps and the answer. After a malformed step it is
the mean reward of rows with one; after a step cut by a window it is the value before; after the last step of a finished
response it is the reward.

Probabilities are counted over the batch, for each level, operator and e, with the pool over all e counted as `_PRIOR`
further states. Before the first operation there is no step to repeat, so it counts among the slips of e = 0 alone. W is
thus exact for a policy whose slips depend on nothing else, which takes the operations in order and repeats fewer than
`_REPEATS` steps; errors that cancel count as right. Unseen events have probability 0; an unseen operator is always
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
"""Index of the answer in place of an operator; the answer states the last value again."""
_REPEATS = 4
"""Number of distinguished counts of repeated steps: 0, 1, 2, and 3 or more, which repeat no further."""
_PRIOR = 16.0
"""Weight, in states, of the pool over all counts of repeats, since few responses repeat a step twice."""


def applied(operator: Array, value: Array, operand: Array) -> Array:
  """`value` "+", "-" or "*" `operand`, by the index of the operator, before the modulus is taken."""
  return jnp.where(operator == 0, value + operand, jnp.where(operator == 1, value - operand, value * operand))


class _Steps(NamedTuple):
  """Steps, stored at the slots where they begin, [B, R]."""

  starts: Bool[Array, "B R"]
  operations: Int[Array, "B R"]
  """The operation that the step names; the number of operations for the answer."""
  values: Int[Array, "B R"]
  """Value that the step states, -1 if malformed."""
  last: Bool[Array, "B R"]
  """True on the last step of a response."""


def step_values(
  prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"], finished: Bool[Array, " B"], *, modulus: int
) -> StepValues:
  """Values before and after each token's step.

  Args:
    finished: rows that have ended, so that their last step is worth their reward.
    modulus: the largest of the levels.
  """
  verdicts = worked_steps.verify(prompts, tokens, mask)
  steps = _steps(prompts, tokens, verdicts)
  states = _before(steps, prompts)
  chances, at_first = _chances(prompts, steps, states, finished, modulus)
  values = _values(prompts, chances, tokens.shape[1], modulus)

  malformed = steps.starts & (steps.values < 0)
  rows = malformed.any(axis=1) & finished
  of_malformed = jnp.sum(jnp.where(rows, verdicts.rewards, 0.0)) / jnp.maximum(rows.sum(), 1)
  counts = prompts.metadata["step_counts"][:, None]
  valid = (steps.operations >= 0) & (steps.operations < counts)
  fits = _room(steps, prompts) >= 0
  repeats = _repeats(steps, steps.operations, 1, prompts)
  going_on = jnp.where(fits, _at(values, steps.operations + 1, repeats, steps.values), 0.0)
  after = jnp.where(valid & (steps.values >= 0), going_on, of_malformed)
  after = jnp.where(steps.last & finished[:, None], verdicts.rewards[:, None], after)
  first = _at_first(prompts, at_first, values)

  source = jax.lax.cummax(jnp.where(steps.starts, jnp.arange(tokens.shape[1]), -1), axis=1)
  inside = verdicts.step_ids >= 0
  spread = lambda x: jnp.where(inside, jnp.take_along_axis(x, jnp.maximum(source, 0), axis=1), 0.0)
  after = spread(after)
  before = spread(jnp.where(_shifted(verdicts.step_ids, -1) >= 0, _shifted(after, 0.0), first[:, None]))
  # A part of a step, or an answer without its end.
  cut = steps.last & ~finished[:, None] & (~valid | (steps.values < 0))
  return StepValues(before, jnp.where(spread(cut), before, after))


def _shifted(x: Array, fill: float) -> Array:
  return jnp.pad(x[:, :-1], ((0, 0), (1, 0)), constant_values=fill)


def _steps(prompts: Prompts, tokens: Int[Array, "B R"], verdicts: Verdicts) -> _Steps:
  ids, extras = verdicts.step_ids, verdicts.extras
  starts = (ids >= 0) & (ids != _shifted(ids, -1))
  is_answer = starts & (extras["step_operations"] < 0)
  operations = jnp.where(is_answer, prompts.metadata["step_counts"][:, None], extras["step_operations"])
  stated = worked_steps.stated_values(tokens, prompts.metadata["value_widths"])
  # An answer that is right to the end token alone is right: "#8" that goes on states nothing.
  wrong = stated != prompts.metadata["answers"][:, None]
  stated = jnp.where(is_answer & ~wrong & ~verdicts.extras["answer_correct"][:, None], -1, stated)
  values = jnp.where(is_answer, stated, extras["step_values"])
  values = jnp.where(values < prompts.metadata["moduli"][:, None], values, -1)  # 9 modulo 7 is no value
  return _Steps(starts, operations, values, starts & (ids == ids.max(axis=1, keepdims=True)))


def _room(steps: _Steps, prompts: Prompts) -> Int[Array, "B R"]:
  """Slots that are left over when all operations after a step's, and the answer, have been written after it."""
  metadata, slots = prompts.metadata, jnp.arange(steps.starts.shape[1])
  step = 1 + metadata["value_widths"][:, None]
  to_come = metadata["step_counts"][:, None] - steps.operations - 1
  return len(slots) - (slots + step) - to_come * step - (step + 1)


def _before(steps: _Steps, prompts: Prompts) -> tuple[Int[Array, "B R"], Int[Array, "B R"]]:
  """(operation, value) of the step before each one that begins; -1 and the first operand before the first."""
  slots = jnp.arange(steps.starts.shape[1])
  source = _shifted(jax.lax.cummax(jnp.where(steps.starts, slots, -1), axis=1), -1)
  take = lambda x: jnp.take_along_axis(x, jnp.maximum(source, 0), axis=1)
  nothing = source < 0
  operands = prompts.metadata["operands"][:, :1]
  return jnp.where(nothing, -1, take(steps.operations)), jnp.where(nothing, operands, take(steps.values))


def _repeats(steps: _Steps, completed: Int[Array, "B R"], more: int, prompts: Prompts) -> Int[Array, "B R"]:
  """Steps that were written a second time, before a slot where operations up to `completed` are, or `more` steps on."""
  width = 1 + prompts.metadata["value_widths"][:, None]
  steps_before = jnp.arange(steps.starts.shape[1]) // width + more
  return jnp.clip(steps_before - completed - 1, 0, _REPEATS - 1)


def _chances(
  prompts: Prompts, steps: _Steps, states_before: tuple[Array, Array], finished: Bool[Array, " B"], modulus: int
) -> tuple[Float[Array, "B 4 E 2M"], Float[Array, "B 4 M"]]:
  """Chances of what comes next before each operator and the answer, of the row's level: M slips of the operation, and M
  of the last step once more; what fails has none. And the M slips of an operation that is the first."""
  metadata, levels = prompts.metadata, prompts.levels
  moduli = metadata["moduli"][:, None]
  stated, value = states_before
  operators, exact = _next(metadata, stated, value)
  in_turn, again = steps.operations == stated + 1, (steps.operations == stated) & (stated >= 0)
  cut = steps.last & ~finished[:, None] & (steps.values < 0)  # a part of a step is not malformed
  usable = steps.starts & (in_turn | again) & (value >= 0) & ~cut
  fails, turns = modulus, modulus + 1  # what comes in turn: a slip, or a failure; then the repeated steps
  slips = jnp.where(in_turn, (steps.values - exact) % moduli, turns + (steps.values - value) % moduli)
  slips = jnp.where(steps.values >= 0, slips, fails)
  at_end = steps.last & finished[:, None] & (steps.operations < metadata["step_counts"][:, None]) & (steps.values >= 0)
  end_operators, _ = _next(metadata, steps.operations, steps.values)  # a response that ended before what comes next

  rows = jnp.arange(len(levels))[:, None]
  same_level = (levels[:, None] == levels).astype(jnp.float32)
  pooled = lambda counts: jnp.einsum("bc,co...->bo...", same_level, counts, precision="highest")
  empty = jnp.zeros((len(levels), _OPERATORS + 1, _REPEATS, turns + modulus))
  number = lambda mask: mask.astype(jnp.float32)
  later = empty.at[rows, operators, _repeats(steps, stated, 0, prompts), slips].add(number(usable & (stated >= 0)))
  later = later.at[rows, end_operators, _repeats(steps, steps.operations, 1, prompts), fails].add(number(at_end))
  later = pooled(later.at[:, :, -1, turns:].set(0.0))
  first = pooled(empty[:, :, 0, :turns].at[rows, operators, slips].add(number(usable & (stated < 0)), mode="drop"))

  # A state repeats, or goes on: how often each, from states that have a step to repeat alone.
  of_all = jnp.broadcast_to(later.sum(axis=2, keepdims=True), later.shape).at[:, :, -1, turns:].set(0.0)
  states = later + _PRIOR * _shares(of_all)
  total = states.sum(axis=3, keepdims=True)
  going_on = states[..., :turns].sum(axis=3, keepdims=True)
  # What it goes on with, from all states.
  on = later[..., :turns].at[:, :, 0].add(first)
  on = on + (going_on - later[..., :turns].sum(axis=3, keepdims=True)) * _shares(on.sum(axis=2, keepdims=True))
  on = on / jnp.maximum(on.sum(axis=3, keepdims=True), 1e-9)
  chances = jnp.concatenate([going_on / total * on, states[..., turns:] / total], axis=3)
  return jnp.delete(chances, fails, axis=3, assume_unique_indices=True), on[:, :, 0, :modulus]


def _shares(counts: Float[Array, "B 4 E C"]) -> Float[Array, "B 4 E C"]:
  """Counts as chances; an operator that was never seen is right."""
  total = counts.sum(axis=3, keepdims=True)
  right = jnp.zeros(counts.shape[3]).at[0].set(1.0)
  return jnp.where(total > 0, counts / jnp.maximum(total, 1.0), right)


def _next(metadata, operations: Int[Array, "B R"], values: Int[Array, "B R"]) -> tuple[Array, Array]:
  """(operator, exact value) of what follows an operation: the next one, or the answer."""
  after = operations + 1
  index = jnp.clip(after, 0, metadata["operators"].shape[1] - 1)
  operators = jnp.take_along_axis(metadata["operators"], index, axis=1)
  operands = jnp.take_along_axis(metadata["operands"], index + 1, axis=1)
  is_answer = after >= metadata["step_counts"][:, None]
  exact = jnp.where(is_answer, values, applied(operators, values, operands) % metadata["moduli"][:, None])
  return jnp.where(is_answer, ANSWER, operators), exact


def _values(prompts: Prompts, chances: Float[Array, "B 4 E 2M"], slots: int, modulus: int) -> Float[Array, "B S+1 E M"]:
  """W_ke(v) for every k, e and v."""
  metadata, every = prompts.metadata, jnp.arange(modulus)
  moduli, width = metadata["moduli"][:, None, None], 1 + metadata["value_widths"]
  rows = jnp.arange(len(moduli))
  lengths = (metadata["step_counts"] + 1) * width + 1
  fits = lengths[:, None] + jnp.arange(_REPEATS) * width[:, None] <= slots
  restated = (every[:, None] + every) % moduli  # [B, M, M]: v and its slip

  def with_repeats(on: Float[Array, "B E M"], again: Float[Array, "B E M"]) -> Float[Array, "B E M"]:
    by_repeats = [on[:, -1] * fits[:, -1:]]
    for e in reversed(range(_REPEATS - 1)):
      repeated = jnp.sum(again[:, e, None] * by_repeats[0][rows[:, None, None], restated], axis=2)
      by_repeats.insert(0, (on[:, e] + repeated) * fits[:, e, None])
    return jnp.stack(by_repeats, axis=1)

  def back(ahead, inputs):
    operator, operand = inputs
    exact = applied(operator[:, None], every, operand[:, None])
    reached = (exact[..., None] + every) % moduli  # [B, M, M]: from v, off by s
    chance = chances[rows, jnp.maximum(operator, 0)]
    next_values = jax.vmap(lambda values, index: values[:, index])(ahead, reached)  # [B, E, M, M]
    current = with_repeats(jnp.sum(chance[:, :, None, :modulus] * next_values, axis=3), chance[..., modulus:])
    current = jnp.where((operator == splits.ABSENT)[:, None, None], ahead, current)
    return current, current

  answer = (metadata["answers"][:, None] - every) % moduli[:, 0]
  at_answer = chances[:, ANSWER]
  right = jnp.take_along_axis(at_answer[..., :modulus], answer[:, None, :], axis=2)
  last = with_repeats(right, at_answer[..., modulus:])
  steps = metadata["operators"].T, metadata["operands"][:, 1:].T
  _, by_step = jax.lax.scan(back, last, steps, reverse=True)
  return jnp.concatenate([by_step.transpose(1, 0, 2, 3), last[:, None]], axis=1)


def _at_first(
  prompts: Prompts, chances: Float[Array, "B 4 M"], values: Float[Array, "B S+1 E M"]
) -> Float[Array, " B"]:
  """Values of the bare prompts: W_1 after each slip of the first operation, by its chance."""
  metadata, rows = prompts.metadata, jnp.arange(len(values))
  operator, operands = metadata["operators"][:, 0], metadata["operands"]
  exact = applied(operator, operands[:, 0], operands[:, 1])
  reached = (exact[:, None] + jnp.arange(values.shape[3])) % metadata["moduli"][:, None]
  return jnp.sum(chances[rows, operator] * jnp.take_along_axis(values[:, 1, 0], reached, axis=1), axis=1)


def _at(
  values: Float[Array, "B S+1 E M"], places: Int[Array, "B R"], repeats: Int[Array, "B R"], stated: Int[Array, "B R"]
) -> Float[Array, "B R"]:
  rows = jnp.arange(values.shape[0])[:, None]
  return values[rows, jnp.clip(places, 0, values.shape[1] - 1), repeats, jnp.clip(stated, 0, values.shape[3] - 1)]
