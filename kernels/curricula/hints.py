"""Share of a reference solution that a prompt's next responses get as a hint, by the prompt's current difficulty."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_mean, widen


def difficulty(
  rewards: Float[Array, " B"], group_ids: Int[Array, " B"] | None, mask: Bool[Array, " B"]
) -> Float[Array, " B"]:
  """D = 1 - mean_g r on every row of the group, for rewards in [0, 1].

  ADHint, arXiv 2512.13095: over the responses without a hint this is the prompt's difficulty prior. A group without a
  scored row counts as hardest: 1.

  >>> print(difficulty(jnp.array([0.0, 1.0, 1.0]), jnp.array([7, 7, 9]), jnp.ones(3, bool)))
  [0.5 0.5 0. ]
  """
  same_shape("difficulty", "B", rewards=rewards, mask=mask)
  return jax.lax.stop_gradient(1 - group_mean(rewards, group_ids, mask))


def hint_ratio(
  difficulties: Float[Array, " B"], noise: Float[Array, " B"] | float = 0.0, *, low: float = 0.0, high: float = 0.9
) -> Float[Array, " B"]:
  """w = (high - low) D + low + noise, within [0, 1]: the harder a prompt, the longer its hint.

  ADHint, arXiv 2512.13095. The clip and the defaults are not in the paper, nor is the noise, for which
  Uniform(-0.05, 0.05) is our suggestion. With low 0 a solved prompt gets no hint.

  >>> print(hint_ratio(jnp.array([0.0, 0.5, 1.0]), low=0.25, high=0.75))
  [0.25 0.5  0.75]
  """
  return jax.lax.stop_gradient(jnp.clip((high - low) * widen(difficulties) + low + noise, 0, 1))


def hint_lengths(ratios: Float[Array, " B"], lengths: Num[Array, " B"]) -> Int[Array, " B"]:
  """floor(w L) tokens of the reference solution, which has L: the prefix that the response continues.

  ADHint, arXiv 2512.13095; the floor is not in the paper. w is raised by 1e-9 (1e-6 in float32), so that a product
  that is an integer but for rounding is not cut by one.

  >>> print(hint_lengths(jnp.array([0.75, 0.7, 1.0]), jnp.array([10, 10, 4])))
  [7 7 4]
  """
  same_shape("hint_lengths", "B", ratios=ratios, lengths=lengths)
  ratios = widen(ratios)
  tolerance = 1e-9 if ratios.dtype == jnp.float64 else 1e-6
  total = lengths.astype(ratios.dtype)
  return jnp.clip(jnp.floor((ratios + tolerance) * total), 0, total).astype(jnp.int32)
