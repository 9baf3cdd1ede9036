"""Potential-based shaping: rewards that leave the optimal policy as it is."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.advantages.returns import gae


def potential_shaping(
  potentials: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  discount: float = 1.0,
  terminal: Float[Array, " B"] | None = None,
) -> Float[Array, "B T"]:
  """F_t = discount Phi(s_{t+1}) - Phi(s_t): the temporal-difference error of Phi without a reward.

  Ng, Harada and Russell (1999); the background of arXiv 2512.04302. t + 1 is the next unmasked slot. `terminal` is the
  potential after the last one, default 0, which the invariance needs; a truncated row may have another. The discounted
  sum of F from t on is discount^n terminal - Phi(s_t). No gradient; 0 in masked slots and for rows without tokens.

  >>> print(potential_shaping(jnp.array([[0.5, 0.25, jnp.nan, 1.0]]), jnp.array([[1, 1, 0, 1]])))
  [[-0.25  0.75  0.   -1.  ]]
  """
  nothing = jnp.zeros_like(potentials)
  return gae(nothing, potentials, mask, discount=discount, lam=0.0, bootstrap=terminal).advantages
