"""Rewards that depend on the length of a response, and the limits they use."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_mean, widen, zero_masked


def overlong_penalty(
  lengths: Num[Array, " B"], *, max_length: int = 20480, buffer: int = 4096, factor: float = 1.0, floor: bool = True
) -> Float[Array, " B"]:
  """0 up to L_max - L_c tokens, then -factor (|o| - (L_max - L_c)) / L_c, and -factor beyond L_max.

  DAPO, arXiv 2503.14476, equation 13. Added to the reward before the advantage is taken. `floor` False leaves the
  slope unbounded beyond L_max, as in verl.

  >>> print(overlong_penalty(jnp.array([151, 175, 200, 260]), max_length=200, buffer=50))
  [-0.02 -0.5  -1.   -1.  ]
  """
  if not 0 < buffer <= max_length:
    raise ValueError(f"overlong_penalty: expected 0 < buffer <= max_length, got {buffer} and {max_length}")
  excess = jnp.maximum((widen(lengths) - (max_length - buffer)) / buffer, 0)
  return -factor * (jnp.minimum(excess, 1) if floor else excess)


def truncation_reward(
  rewards: Num[Array, " B"],
  lengths: Num[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  limits: float | Num[Array, " B"] = 4000,
  overlong_factor: float = 0.0,
) -> Float[Array, " B"]:
  """R'_i = r_i if |o_i| <= L, else overlong_factor r_i: a response that is not finished within L tokens earns nothing.

  DLER, arXiv 2510.15110, section 3, with L = 4000; SIRI, arXiv 2509.25176, section 3, where L follows
  `curricula.length_schedule.length_limit`. `lengths` are the tokens that the complete answer needs; where
  generation is stopped at L, that of a response that was cut off counts as L + 1 or more. `limits` may differ by row
  (`difficulty_limits`). overlong_factor 0.1 is DLER's code, whose filter uses the reward at 0; it is not in the paper.
  Unscored rows give 0.

  >>> print(truncation_reward(jnp.array([1.0, 1.0, 0.0]), jnp.array([4, 5, 2]), jnp.ones(3, bool), limits=4))
  [1. 0. 0.]
  """
  same_shape("truncation_reward", "B", rewards=rewards, lengths=lengths, mask=mask)
  rewards = zero_masked(rewards, mask)
  return jax.lax.stop_gradient(jnp.where(widen(lengths) <= limits, rewards, overlong_factor * rewards))


def difficulty_limits(
  correct: Bool[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  thresholds: Sequence[float] = (0.5,),
  limits: Sequence[float] = (4000, 2000),
) -> Float[Array, " B"]:
  """L_g = limits[number of thresholds below the share of correct responses of g]: easy prompts get fewer tokens.

  DA-DLER, arXiv 2510.15110, section 3. One limit more than thresholds, the first for the hardest prompts; thresholds
  ascend. A share equal to a threshold counts as below it, and `correct` is judged on rollouts made at the largest
  limit: neither is in the paper. Every row of a group gets its limit, unscored rows too; a group without a scored row
  gets the first.

  >>> print(difficulty_limits(jnp.array([1, 1, 1, 0]), jnp.array([7, 7, 9, 9]), jnp.ones(4, bool)))
  [2000. 2000. 4000. 4000.]
  """
  if len(limits) != len(thresholds) + 1 or list(thresholds) != sorted(thresholds):
    raise ValueError(
      f"difficulty_limits: expected ascending thresholds and one limit more, got {thresholds} and {limits}"
    )
  share = group_mean(correct, group_ids, mask)
  above = jnp.searchsorted(jnp.asarray(thresholds, share.dtype), share, side="left")
  return jnp.asarray(limits, share.dtype)[above]
