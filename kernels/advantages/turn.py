"""IGPO: turn rewards normalised in their group, then accumulated over the turns of a row.

Arrays are [B, S], one value per turn, with a mask of the turns that exist; the last of a row holds the outcome reward,
the others information gains (`rewards.information_gain`). An unscored row is a row without turns.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import group_deviations, group_std, zero_masked
from rl_jax.kernels.scans import discounted_sums
from rl_jax.kernels.segments import last_token


def _normalized(x, group_ids, mask, scale):
  """(x - mean_g) / (sqrt(var_g + 1e-8) + 1e-6), or x - mean_g: the authors' two floors are both kept."""
  centred = group_deviations(x, group_ids, mask)
  if not scale:
    return centred
  variance = jnp.square(group_std(x, group_ids, mask, ddof=0))
  return centred / (jnp.sqrt(variance + 1e-8) + 1e-6)[:, None]


def normalize_turn_rewards(
  turn_rewards: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  mode: str = "joint",
  scale: bool = True,
  outcome_weight: Float[Array, ""] | float = 1.0,
  gain_weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, "B S"]:
  """x' = (x - mean_g) / (sqrt(var_g + 1e-8) + 1e-6), var with ddof 0, over all turns of the rows of a group.

  IGPO, arXiv 2510.14967. `mode` "joint": one mean and std for all turn rewards of the group (the paper); "separate":
  outcome rewards among themselves and gains among themselves (the authors' later setting). `scale` False leaves out
  the std. The weights multiply the rewards first (`curriculum_weights`). A constant set and a set of one give 0.

  >>> rewards, group_ids, mask = jnp.array([[0.5, 1.0], [0.0, 0.0]]), jnp.array([7, 7]), jnp.ones((2, 2))
  >>> print(normalize_turn_rewards(rewards, group_ids, mask, mode="separate").round(3))
  [[ 1.  1.]
   [-1. -1.]]
  """
  known_option("normalize_turn_rewards", "mode", mode, ("joint", "separate"))
  same_shape("normalize_turn_rewards", "B S", turn_rewards=turn_rewards, mask=mask)
  exists, rewards = mask != 0, zero_masked(turn_rewards, mask)
  last = last_token(exists)
  rewards = jnp.where(last, outcome_weight * rewards, gain_weight * rewards)
  if mode == "joint":
    normalized = _normalized(rewards, group_ids, exists, scale)
  else:
    normalized = sum(_normalized(rewards, group_ids, part, scale) for part in (last, exists & ~last))
  return jax.lax.stop_gradient(normalized)


def igpo(
  turn_rewards: Float[Array, "B S"],
  group_ids: Int[Array, " B"],
  mask: Num[Array, "B S"],
  *,
  discount: float = 1.0,
  mode: str = "joint",
  scale: bool = True,
  outcome_weight: Float[Array, ""] | float = 1.0,
  gain_weight: Float[Array, ""] | float = 1.0,
) -> Float[Array, "B S"]:
  """A_s = sum_{k >= s} discount^(k - s) x'_k over TURNS, x' from `normalize_turn_rewards`, which takes the options.

  IGPO, arXiv 2510.14967. `segments.on_tokens` puts A_s on the model's tokens of turn s; no whitening follows.
  Rows of one turn make it GRPO with ddof 0.

  >>> rewards, group_ids, mask = jnp.array([[0.5, 1.0], [0.0, 0.0]]), jnp.array([7, 7]), jnp.ones((2, 2))
  >>> print(igpo(rewards, group_ids, mask, scale=False, discount=0.5))
  [[ 0.4375  0.625 ]
   [-0.5625 -0.375 ]]
  """
  normalized = normalize_turn_rewards(
    turn_rewards, group_ids, mask, mode=mode, scale=scale, outcome_weight=outcome_weight, gain_weight=gain_weight
  )
  return jax.lax.stop_gradient(discounted_sums(normalized, mask, discount=discount))
