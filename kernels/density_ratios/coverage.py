"""Coverage of one policy's states by another's data, and of all policies' by the best data there is."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import widen


class Coverability(NamedTuple):
  """The coefficient, and the distribution of each layer that attains it."""

  coefficient: Float[Array, ""]
  distribution: Float[Array, "H X"]


def clipped_concentrability(
  occupancy: Float[Array, "*N X"], data: Float[Array, " X"], cap: Float[Array, ""]
) -> Float[Array, "*N"]:
  """sum_x d(x) min(d(x) / mu(x), cap): what a policy sees that the data lacks costs the cap, and not infinity.

  GLOW, arXiv 2401.09681. States (and actions) that neither has add nothing.

  >>> print(clipped_concentrability(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0]), jnp.array(3.0)))
  1.75
  """
  occupancy, data = widen(occupancy), widen(data)
  if occupancy.shape[-1:] != data.shape:
    raise ValueError(f"clipped_concentrability: expected [... X] and [X], got {occupancy.shape} and {data.shape}")
  ratios = jnp.where(data > 0, occupancy / jnp.where(data > 0, data, 1), jnp.inf)
  truncated = jnp.minimum(ratios, widen(jnp.asarray(cap)))
  return jnp.where(occupancy > 0, occupancy * truncated, 0).sum(axis=-1)


def coverability(occupancies: Float[Array, "M H X"]) -> Coverability:
  """C = max_h sum_x max_pi d^pi_h(x) = min_mu max_{pi, h, x} d^pi_h(x) / mu_h(x), mu_h in proportion to max_pi d^pi_h.

  GLOW, arXiv 2401.09681; the identity for a finite class is a standard one of arXiv 2210.04157. From 1, all policies
  alike, to their number.

  >>> print(coverability(jnp.array([[[0.5, 0.5, 0.0]], [[0.0, 0.5, 0.5]]])).coefficient)
  1.5
  """
  if occupancies.ndim != 3:
    raise ValueError(f"coverability: expected occupancies [M H X], got {occupancies.shape}")
  largest = widen(occupancies).max(axis=0)
  total = largest.sum(axis=-1, keepdims=True)
  return Coverability(total.max(), largest / jnp.where(total > 0, total, 1))
