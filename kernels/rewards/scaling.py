"""Rewards of several objectives on one scale: each over the spread of its discounted sums so far.

C-MORL, arXiv 2410.02236. The critic learns in these units; by the variances, `advantages.scalarized_advantages` goes
back to the objectives' own.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import masked_mean, zero_masked


class ReturnStatistics(NamedTuple):
  """State in, state out."""

  sums: Float[Array, "B K"]
  """Discounted sum of each row's rewards so far; set to 0 where a new episode begins."""
  samples: Float[Array, ""]
  means: Float[Array, " K"]
  variances: Float[Array, " K"]

  @classmethod
  def empty(cls, rows: int, objectives: int) -> ReturnStatistics:
    """Variance 1 with the weight of 1e-4 samples, as in OpenAI's Baselines."""
    ones = jnp.ones(objectives)
    return cls(jnp.zeros((rows, objectives)), jnp.asarray(1e-4), 0 * ones, ones)


class ScaledRewards(NamedTuple):
  """Rewards in units of their objective's spread, 0 in masked steps, and the statistics after them."""

  rewards: Float[Array, "B T K"]
  statistics: ReturnStatistics


def scale_rewards(
  statistics: ReturnStatistics,
  rewards: Float[Array, "B T K"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 0.995,
  clip: float = 10.0,
) -> ScaledRewards:
  """r_k / sqrt(var_k + 1e-8) within +-clip, var_k the variance over rows and steps so far of G_k <- discount G_k + r_k.

  C-MORL, arXiv 2410.02236, its flag obj_rms. A step counts before its own rewards are scaled; masked steps change
  nothing. No gradient.

  >>> start, rewards = ReturnStatistics.empty(1, 1), jnp.array([[[1.0], [1.0], [1.0]]])
  >>> found = scale_rewards(start, rewards, jnp.ones((1, 3)), discount=1.0)
  >>> print(found.statistics.sums, f"{found.statistics.variances.item():.3f}")
  [[3.]] 0.667
  """
  matching_axes("scale_rewards", sums=(statistics.sums, "B K"), rewards=(rewards, "B T K"), mask=(mask, "B T"))
  exists = jnp.broadcast_to(mask[..., None] != 0, rewards.shape)
  rewards = zero_masked(rewards, exists)

  def step(state, inputs):
    rewards, exists = inputs
    sums = jnp.where(exists, discount * state.sums + rewards, state.sums)
    batch = masked_mean(sums, exists, axis=0)
    spread = masked_mean(jnp.square(sums - batch.value), exists, axis=0).sum
    added = batch.weight[0]
    samples, apart = state.samples + added, batch.value - state.means
    means = state.means + apart * added / samples
    squares = state.variances * state.samples + spread + jnp.square(apart) * state.samples * added / samples
    state = ReturnStatistics(sums, samples, means, squares / samples)
    return state, jnp.clip(rewards / jnp.sqrt(state.variances + 1e-8), -clip, clip)

  over_time = (jnp.swapaxes(x, 0, 1) for x in (rewards, exists))
  state = jax.tree.map(lambda x: x.astype(rewards.dtype), statistics)
  state, scaled = jax.lax.scan(step, state, tuple(over_time))
  return jax.lax.stop_gradient(ScaledRewards(jnp.swapaxes(scaled, 0, 1), state))
