"""Value functions told apart by weighted average Bellman errors: GLOW's version space, and MABO.CR.

arXiv 2401.09681. M value functions f and J weight functions w, finite classes; H layers with N samples each, `mask` [H
N] True on those collected so far. Weights are cut off at a cap and pay a penalty for their square. No gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.density_ratios.weights import truncated_weights
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked


class GlowSchedule(NamedTuple):
  """Limits of an iteration: the cap of weights, the penalty of their square, and the largest statistic."""

  cap: Float[Array, "*N"]
  penalty: Float[Array, "*N"]
  threshold: Float[Array, "*N"]


class VersionSpace(NamedTuple):
  """The value functions that the data allows, and the optimistic one of them, -1 if there is none."""

  members: Bool[Array, " M"]
  chosen: Int[Array, ""]


class Minimax(NamedTuple):
  """The objective of each value function, and the index of the smallest."""

  objectives: Float[Array, " M"]
  chosen: Int[Array, ""]


def glow_schedule(
  iteration: Num[Array, "*N"],
  *,
  slope: float,
  horizon: int,
  iterations: int,
  rollouts: int = 1,
  value_functions: int,
  weight_functions: int,
  delta: float = 0.1,
  penalty_scale: float = 8.0,
  threshold_scale: float = 36.0,
) -> GlowSchedule:
  """gamma_t = slope t; alpha_t = 8 / gamma_t; beta_t = 36 gamma_t log(6 |F| |W| T H / delta) / (K (t - 1)), t from 1.

  GLOW, arXiv 2401.09681, with K rollouts an iteration. At t = 1 there is no data and beta is infinite. The theory's
  slope is sqrt(C_cov / (T log(|F| |W| / delta))), its constants exclude a function with residual 1 only after about a
  thousand times the logarithm of trajectories: the scales are there to be lowered.

  >>> options = dict(slope=0.5, horizon=3, iterations=200, value_functions=4, weight_functions=3)
  >>> print(glow_schedule(jnp.array([1, 4]), **options).cap, glow_schedule(jnp.array([1]), **options).threshold)
  [0.5 2. ] [inf]
  """
  t = widen(jnp.asarray(iteration))
  size = jnp.log(jnp.asarray(6 * value_functions * weight_functions * iterations * horizon / delta, t.dtype))
  cap, trajectories = slope * t, rollouts * (t - 1)
  allowed = threshold_scale * cap * size / jnp.where(trajectories > 0, trajectories, 1)
  return GlowSchedule(cap, penalty_scale / cap, jnp.where(trajectories > 0, allowed, jnp.inf))


def bellman_residuals(
  values: Float[Array, "M H N"],
  next_values: Float[Array, "M H N"],
  rewards: Float[Array, "H N"],
  mask: Num[Array, "H N"],
) -> Float[Array, "M H N"]:
  """f(x, a) - r - max_a' f(x', a'), the next value 0 in the last layer; 0 in masked slots.

  arXiv 2401.09681.

  >>> one = jnp.ones((1, 1, 1))
  >>> print(bellman_residuals(3 * one, one, one[0], one[0]))
  [[[1.]]]
  """
  same_shape("bellman_residuals", "M H N", values=values, next_values=next_values)
  same_shape("bellman_residuals", "H N", rewards=rewards, mask=mask)
  values, next_values, rewards = (zero_masked(x, mask) for x in (values, next_values, rewards))
  return jax.lax.stop_gradient(values - rewards - next_values)


def _averages(residuals, weights, mask, cap):
  """Means over samples of w~ times the residual [M J H], and of w~^2 [J H]."""
  if residuals.ndim != 3 or weights.ndim != 3 or not residuals.shape[1:] == weights.shape[1:] == mask.shape:
    raise ValueError(
      "weighted Bellman errors: expected residuals [M H N], weights [J H N] and mask [H N], "
      f"got {residuals.shape}, {weights.shape} and {mask.shape}"
    )
  exists = mask != 0
  truncated = truncated_weights(jnp.where(exists, widen(weights), 0), cap)
  mean = lambda x: masked_mean(x, jnp.broadcast_to(exists, x.shape), axis=-1).value
  return mean(zero_masked(residuals, mask)[:, None] * truncated), mean(jnp.square(truncated))


def glow_statistics(
  residuals: Float[Array, "M H N"],
  weights: Float[Array, "J H N"],
  mask: Num[Array, "H N"],
  cap: Float[Array, ""],
  penalty: Float[Array, ""],
) -> Float[Array, " M"]:
  """max over layers and weights of mean[w~ delta_f - alpha w~^2], w~ = min(w, cap): one-sided, no absolute value.

  GLOW, arXiv 2401.09681. At most 0 where all residuals are 0 or less, so that a function without error is never
  excluded.

  >>> one = jnp.ones((1, 1, 2))
  >>> print(glow_statistics(one, 3 * one, one[0], jnp.array(2.0), jnp.array(0.25)))
  [1.]
  """
  errors, squares = _averages(residuals, weights, mask, cap)
  return jax.lax.stop_gradient((errors - widen(jnp.asarray(penalty)) * squares).max(axis=(1, 2)))


def version_space(
  statistics: Float[Array, " M"], initial_values: Float[Array, " M"], threshold: Float[Array, ""]
) -> VersionSpace:
  """F_t = {f: statistic <= beta}, and of it the function with the largest mean of max_a f(x_1, a), the first of many.

  GLOW, arXiv 2401.09681.

  >>> print(*version_space(jnp.array([0.1, 0.9]), jnp.array([0.5, 0.7]), jnp.array(0.2)))
  [ True False] 0
  """
  same_shape("version_space", "M", statistics=statistics, initial_values=initial_values)
  members = widen(statistics) <= widen(jnp.asarray(threshold))
  best = jnp.argmax(jnp.where(members, widen(initial_values), -jnp.inf)).astype(jnp.int32)
  return VersionSpace(members, jnp.where(members.any(), best, -1))


def mabo_cr(
  residuals: Float[Array, "M H N"],
  weights: Float[Array, "J H N"],
  mask: Num[Array, "H N"],
  cap: Float[Array, ""],
  penalty: Float[Array, ""],
) -> Minimax:
  """argmin_f max_w sum_h (|mean[w~ delta_f]| - alpha mean[w~^2]), w~ = min(w, cap); the first of several.

  MABO.CR of HyGLOW, arXiv 2401.09681, equation 13: cap gamma n, alpha 8 / cap, on the data of `curricula.hybrid_rows`.
  Its guarantee is for classes that hold -w and each single layer of a w as well.

  >>> one = jnp.ones((1, 1, 2))
  >>> print(*mabo_cr(jnp.concatenate([-one, 0 * one]), 3 * one, one[0], jnp.array(2.0), jnp.array(0.25)))
  [ 1. -1.] 1
  """
  errors, squares = _averages(residuals, weights, mask, cap)
  objectives = (jnp.abs(errors) - widen(jnp.asarray(penalty)) * squares).sum(axis=-1).max(axis=-1)
  return Minimax(jax.lax.stop_gradient(objectives), jnp.argmin(objectives).astype(jnp.int32))
