"""Advantages from turn rewards and an outcome, each compared within its group and then added."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import group_deviations, group_sum, standardize, zero_masked


class VeRPO(NamedTuple):
  """The sum and its two parts; 0 for turns that were not executed. `segments.on_tokens` puts it on tokens."""

  advantages: Float[Array, "B S"]
  turn: Float[Array, "B S"]
  outcome: Float[Array, " B"]


def verpo(
  turn_rewards: Float[Array, "B S"],
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  turn_mask: Num[Array, "B S"],
  *,
  beta: float = 1.0,
  scale: str = "none",
  ddof: int = 1,
  eps: float = 1e-6,
) -> VeRPO:
  """A_it = (R_i - mean_i R) + beta (r_it - mean r), the second mean over all executed turns of the group.

  VeRPO, arXiv 2601.03525, equations 12 to 14; `outcomes` are decayed by the number of turns. Rows with more turns
  weigh more in the mean of turns. `scale` "group" divides each part by its own std + eps (the paper's ablation; ddof
  and eps are not in the paper, nor is the value of beta as available). A part that is constant in its group gives 0,
  so a single rollout of one turn gives 0. Rows without turns are left out.

  >>> result = verpo(jnp.array([[0.5, 1.0], [0.0, 9.0]]), jnp.array([1.0, 0.0]), jnp.array([7, 7]),
  ...                       jnp.array([[1, 1], [1, 0]]), beta=0.5)
  >>> print(result.advantages)
  [[ 0.5   0.75]
   [-0.75  0.  ]]
  """
  known_option("verpo", "scale", scale, ("none", "group"))
  same_shape("verpo", "B S", turn_rewards=turn_rewards, turn_mask=turn_mask)
  relative = group_deviations if scale == "none" else partial(standardize, ddof=ddof, eps=eps)
  turn = relative(turn_rewards, group_ids, turn_mask)
  outcome = relative(outcomes, group_ids, (turn_mask != 0).any(axis=1))
  return jax.lax.stop_gradient(VeRPO(zero_masked(outcome[:, None] + beta * turn, turn_mask), turn, outcome))


def degenerate_groups(
  advantages: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  turn_mask: Num[Array, "B S"],
  *,
  tolerance: float = 1e-6,
) -> Bool[Array, " B"]:
  """Return whether no turn of a row's group has an advantage beyond rounding: the group then carries no gradient.

  True also for a group without turns. The tolerance is not in the paper.

  >>> print(degenerate_groups(jnp.array([[0.5], [-0.5], [0.0]]), jnp.array([7, 7, 9]), jnp.ones((3, 1))))
  [False False  True]
  """
  return group_sum(jnp.abs(zero_masked(advantages, turn_mask)) > tolerance, group_ids, turn_mask) == 0
