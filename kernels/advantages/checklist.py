"""Advantages from checklists, assigned to turns or to steps; arrays as in `rewards.checklist`.

Assigned to the trajectory, the final method of CM2 (arXiv 2602.12268, equation 5) is GRPO on the mean turn reward:
`grpo(rewards, group_ids, mask, scale="none", singleton="zero")`; the released code keeps singleton "raw".
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.reductions import group_mean, group_size, masked_mean, zero_masked


def _by_column(x, group_ids, counted, scale, eps, min_count):
  """GRPO's advantage of each column of x [B, L] among the rows that count in it; 0 if there are too few."""

  def column(x, counted):
    enough = counted & (group_size(group_ids, counted) > min_count)
    return grpo(x, group_ids, enough, scale=scale, eps=eps, singleton="zero")

  return jax.vmap(column, in_axes=1, out_axes=1)(x, counted)


def cm2_turn(
  turn_rewards: Float[Array, "B L"],
  reached: Num[Array, "B L"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  scale: str = "none",
  eps: float = 1e-6,
  min_count: int = 0,
) -> Float[Array, "B L"]:
  """A_t = (R_t - mean R_t) / F, over the group's rows that reached turn t; 0 for turns not reached.

  CM2, arXiv 2602.12268, equation 7. Counting only rows that reached the turn is inferred, as in the released code. F is
  1, or the group's std + eps (`scale` "group"). Turns that at most `min_count` rows reached get 0; the released code
  uses 4 and masks rows whose judge or tools failed. Constant rewards and a single row give 0.

  >>> rewards, reached = jnp.array([[1.0, 0.5], [0.0, 0.0]]), jnp.array([[1, 1], [1, 0]])
  >>> print(cm2_turn(rewards, reached, jnp.array([7, 7]), jnp.array([True, True])))
  [[ 0.5  0. ]
   [-0.5  0. ]]
  """
  known_option("cm2_turn", "scale", scale, ("none", "group"))
  same_shape("cm2_turn", "B L", turn_rewards=turn_rewards, reached=reached)
  return _by_column(turn_rewards, group_ids, (reached != 0) & mask[:, None], scale, eps, min_count)


class StepAdvantages(NamedTuple):
  """Advantages of steps, and of the items that they pool."""

  advantages: Float[Array, "B S"]
  items: Float[Array, "B C"]
  """(1[c satisfied] - b_c) / F_c; 0 if the row does not count for the item."""
  baselines: Float[Array, "B C"]
  """b_c: share of the group's counted rows that satisfied the item."""


def cm2_step(
  eligible: Bool[Array, "B S C"],
  satisfied: Bool[Array, "B C"],
  weights: Float[Array, "B C"],
  group_ids: Int[Array, " B"],
  counted: Num[Array, "B C"],
  step_mask: Num[Array, "B S"],
  *,
  scale: str = "none",
  eps: float = 1e-6,
  min_count: int = 0,
) -> StepAdvantages:
  """A_s = sum_{c in E_s} w_c A_c / sum_{c in E_s} w_c, A_c = (1[c satisfied] - b_c) / F_c.

  CM2, arXiv 2602.12268, equations 3 and 8 to 10. E_s are the items eligible at step s. Every such step gets the item's
  final outcome (backfilled), so A_c is one number per row. F is 1, or the std of the outcomes + eps (`scale` "group").
  `counted` are the rows in b_c: all rows of the group in the paper; in the released code those that attempted the item
  (`ChecklistProgress`) and whose calls succeeded, if there are more than `min_count` (4 there). The released code does
  not divide the sum by the weights. A step without eligible items gets 0 (inferred), and so does an item with constant
  outcomes or one row.

  >>> eligible = jnp.array([[[True, False], [False, True]], [[True, False], [True, False]]])
  >>> satisfied, weights = jnp.array([[True, True], [False, False]]), jnp.full((2, 2), 0.5)
  >>> ones = jnp.ones((2, 2))
  >>> print(cm2_step(eligible, satisfied, weights, jnp.array([7, 7]), ones, ones).advantages)
  [[ 0.5  0.5]
   [-0.5 -0.5]]
  """
  known_option("cm2_step", "scale", scale, ("none", "group"))
  same_shape("cm2_step", "B C", satisfied=satisfied, weights=weights, counted=counted)
  counts = counted != 0
  baseline = lambda x, counts: group_mean(x, group_ids, counts)
  baselines = jax.vmap(baseline, in_axes=1, out_axes=1)(satisfied, counts)
  items = _by_column(satisfied, group_ids, counts, scale, eps, min_count)
  shares = zero_masked(jnp.broadcast_to(weights[:, None, :], eligible.shape), eligible)
  pooled = masked_mean(jnp.broadcast_to(items[:, None, :], eligible.shape), shares, axis=2)
  steps = zero_masked(pooled.value, step_mask)
  return jax.lax.stop_gradient(StepAdvantages(steps, items, baselines))
