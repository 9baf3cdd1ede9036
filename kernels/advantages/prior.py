"""V0.5: a baseline that shrinks the group mean towards a predicted value, unless the samples refute the prediction."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_mean, group_size, widen, zero_masked


class Fusion(NamedTuple):
  """Prior and samples of one prompt, fused."""

  samples: Float[Array, "..."]
  """k."""
  mean: Float[Array, "..."]
  """m, their mean."""
  squared_bias: Float[Array, "..."]
  """D^2, the prior's estimated squared error; 0 where the samples do not refute it."""
  weight: Float[Array, "..."]
  """w, of the mean."""
  baseline: Float[Array, "..."]
  error: Float[Array, "..."]
  """Estimated mean squared error of the baseline."""


def fuse_prior(
  mean: Float[Array, "..."], samples: Num[Array, "..."], prior: Float[Array, "..."], *, noise_variance: float = 1.0
) -> Fusion:
  """b = w m + (1 - w) V with w = D^2 / (D^2 + s), D^2 = max(0, (m - V)^2 - s), s = noise_variance / k.

  V0.5, arXiv 2603.10848. w minimises w^2 s + (1 - w)^2 D^2, the error of b where V is off by D; that error is then
  D^2 s / (D^2 + s). `noise_variance` bounds the variance of one reward: 1 for rewards of -1 and 1, 1/4 for 0 and 1,
  in general ((r_max - r_min) / 2)^2, which is not in the paper. If (m - V)^2 <= s, or without samples, b is exactly V.

  >>> fused = fuse_prior(jnp.array([1.0, 0.5]), jnp.array([4, 4]), jnp.array([-0.6, 0.25]))
  >>> print(fused.weight.round(2), fused.baseline)
  [0.9 0. ] [0.84375 0.25   ]
  """
  mean, samples, prior = widen(mean), widen(samples), widen(prior)
  noise = noise_variance / jnp.maximum(samples, 1)
  squared = jnp.where(samples > 0, jnp.maximum(jnp.square(mean - prior) - noise, 0), 0)
  weight = squared / jnp.where(squared > 0, squared + noise, 1)
  return jax.lax.stop_gradient(
    Fusion(samples, mean, squared, weight, weight * mean + (1 - weight) * prior, weight * noise)
  )


def prior_baseline(
  rewards: Float[Array, " B"],
  priors: Float[Array, " B"],
  group_ids: Int[Array, " B"] | None,
  mask: Bool[Array, " B"],
  *,
  noise_variance: float = 1.0,
) -> Fusion:
  """`fuse_prior` with the mean and the number of a group's scored rows, on each of them; 0 on unscored rows.

  V0.5, arXiv 2603.10848. `priors` hold the prompt's V on each of its rows.

  >>> rewards, ids = jnp.array([1.0, 1.0, 1.0, 1.0]), jnp.array([7, 7, 7, 7])
  >>> print(prior_baseline(rewards, jnp.full(4, -0.6), ids, jnp.ones(4, bool)).baseline)
  [0.84375 0.84375 0.84375 0.84375]
  """
  same_shape("prior_baseline", "B", rewards=rewards, priors=priors, mask=mask)
  fused = fuse_prior(
    group_mean(rewards, group_ids, mask),
    group_size(group_ids, mask),
    zero_masked(priors, mask),
    noise_variance=noise_variance,
  )
  return Fusion(*(zero_masked(x, mask) for x in fused))


def v05(
  rewards: Float[Array, " B"],
  priors: Float[Array, " B"],
  group_ids: Int[Array, " B"] | None,
  mask: Bool[Array, " B"],
  *,
  noise_variance: float = 1.0,
) -> Float[Array, " B"]:
  """A_i = r_i - b with the fused baseline b of its group.

  V0.5, arXiv 2603.10848. There is no division by the std: a group of equal rewards still learns where the prior was
  wrong, and the division would blow it up; that there is none is not in the paper.

  >>> rewards, ids = jnp.array([1.0, 1.0, 1.0, 1.0]), jnp.array([7, 7, 7, 7])
  >>> print(v05(rewards, jnp.full(4, -0.6), ids, jnp.ones(4, bool)))
  [0.15625 0.15625 0.15625 0.15625]
  """
  fused = prior_baseline(rewards, priors, group_ids, mask, noise_variance=noise_variance)
  return jax.lax.stop_gradient(zero_masked(rewards, mask) - fused.baseline)
