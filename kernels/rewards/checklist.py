"""Rewards from a checklist: binary items, judged after every step of a turn, with dependencies between them.

All items of a row are on one axis, and so are all its steps: `item_turns` [B, C] and `step_turns` [B, S] name their
turn, 0 .. L - 1. An item of any other turn (-1) does not exist; `step_mask` marks the steps taken, in order. Rows of a
group share their items. No gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked
from rl_jax.kernels.scans import running_sums
from rl_jax.kernels.segments import segment_sum


class ChecklistProgress(NamedTuple):
  """Progress of each item; False at steps of other turns and for items that do not exist."""

  eligible: Bool[Array, "B S C"]
  """True if before the step all dependencies were satisfied and the item was not."""
  completed: Bool[Array, "B S C"]
  """The step satisfied the item: at most one step per item."""

  @property
  def attempted(self) -> Bool[Array, "B C"]:
    """True if a judgement of the item could count at any step."""
    return self.eligible.any(axis=1)

  @property
  def satisfied(self) -> Bool[Array, "B C"]:
    """True if the item was satisfied in the end."""
    return self.completed.any(axis=1)


def checklist_progress(
  judge: Num[Array, "B S C"],
  dependencies: Num[Array, "B C C"],
  item_turns: Int[Array, "B C"],
  step_turns: Int[Array, "B S"],
  step_mask: Num[Array, "B S"],
) -> ChecklistProgress:
  """Sat_c(x_{s+1}) = Sat_c(x_s) or (judge_sc and every dependency of c in Sat(x_s)), Sat(x_0) = 0.

  CM2, arXiv 2602.12268, equations 2 and 10; that Sat never flips back is inferred. `judge` is 1 where the turn up to
  and including step s satisfies item c; `dependencies` [b, c, d] is 1 where c needs d, of the same turn. Without
  dependencies (zeros) an item is satisfied once any step of its turn is judged so: the released code does this for its
  turn and trajectory rewards.

  >>> judge, needs = jnp.array([[[0, 1], [1, 0]]]), jnp.array([[[0, 0], [1, 0]]])
  >>> turns = jnp.zeros((1, 2), jnp.int32)
  >>> print(checklist_progress(judge, needs, turns, turns, jnp.ones((1, 2))).satisfied)
  [[ True False]]
  """
  same_shape("checklist_progress", "B S", step_turns=step_turns, step_mask=step_mask)
  present = (step_mask != 0)[:, :, None] & (item_turns >= 0)[:, None] & (item_turns[:, None] == step_turns[:, :, None])
  needs = dependencies != 0

  def step(satisfied, inputs):
    judged, present = inputs
    eligible = present & ~satisfied & (satisfied[:, None, :] | ~needs).all(axis=2)
    return satisfied | (eligible & judged), (eligible, eligible & judged)

  by_step = lambda x: jnp.swapaxes(x, 0, 1)
  start = jnp.zeros(item_turns.shape, bool)
  _, progress = jax.lax.scan(step, start, (by_step(judge != 0), by_step(present)))
  return ChecklistProgress(*map(by_step, progress))


def checklist_turn_rewards(
  satisfied: Bool[Array, "B C"],
  weights: Float[Array, "B C"],
  item_turns: Int[Array, "B C"],
  turn_mask: Num[Array, "B L"],
) -> Float[Array, "B L"]:
  """R_t = sum_c w_tc 1[c satisfied], in [0, 1] where a turn's weights sum to 1. CM2, equation 6.

  `turn_mask` marks the turns of the reference dialogue; a turn that was not reached has no satisfied item, hence 0.

  >>> turns = jnp.array([[0, 0, 1]])
  >>> weights = jnp.array([[0.25, 0.75, 1.0]])
  >>> print(checklist_turn_rewards(jnp.array([[True, False, True]]), weights, turns, jnp.ones((1, 2))))
  [[0.25 1.  ]]
  """
  total = segment_sum(weights, item_turns, satisfied, num_segments=turn_mask.shape[1])
  return jax.lax.stop_gradient(zero_masked(total, turn_mask))


def checklist_trajectory_reward(
  turn_rewards: Float[Array, "B L"], turn_mask: Num[Array, "B L"], valid: Bool[Array, " B"]
) -> Float[Array, " B"]:
  """R = (1 / L) sum_t R_t over the reference turns, reached or not. CM2, equation 4.

  With the mask of reached turns it is the mean over those. Rows that are not `valid` (a judge or tool call failed) get
  0 as in the released code, which keeps them in the group's mean; the paper does not mention them. No turn gives 0.

  >>> print(checklist_trajectory_reward(jnp.array([[0.5, 0.0]]), jnp.ones((1, 2)), jnp.array([True])))
  [0.25]
  """
  return jax.lax.stop_gradient(zero_masked(masked_mean(turn_rewards, turn_mask, axis=1).value, valid))


def turns_passed(
  satisfied: Bool[Array, "B C"],
  required: Num[Array, "B C"],
  item_turns: Int[Array, "B C"],
  turn_mask: Num[Array, "B L"],
) -> Bool[Array, "B L"]:
  """Return whether every required item of a turn is satisfied: the dialogue continues after it, else it stops.

  CM2, strict items. True for a turn that requires nothing, False for turns that do not exist.

  >>> turns, passed = jnp.array([[0, 0, 1]]), jnp.array([[True, False, False]])
  >>> print(turns_passed(passed, jnp.array([[1, 0, 1]]), turns, jnp.ones((1, 2))))
  [[ True False]]
  """
  missing = widen((required != 0) & ~satisfied)
  return (turn_mask != 0) & (segment_sum(missing, item_turns, missing, num_segments=turn_mask.shape[1]) == 0)


def response_steps(mask: Num[Array, "B T"]) -> Int[Array, "B T"]:
  """Step of each token, a step being a run of the response mask: 0, 1, ..., and -1 between runs.

  Tool and user tokens (mask 0) separate the assistant's steps, so these are segment ids for `segments`.

  >>> print(response_steps(jnp.array([[0, 1, 1, 0, 1]])))
  [[-1  0  0 -1  1]]
  """
  inside = mask != 0
  starts = inside & ~jnp.pad(inside, ((0, 0), (1, 0)))[:, :-1]
  return jnp.where(inside, running_sums(starts) - 1, -1)
