"""Offline data revealed at the speed of the online data."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int


class HybridRows(NamedTuple):
  """Rows in use of a stored data set, and of the rollouts made so far."""

  offline: Bool[Array, " N"]
  online: Bool[Array, " M"]


def hybrid_rows(iteration: Int[Array, ""], *, offline: int, online: int, per_iteration: int = 1) -> HybridRows:
  """The first t of the offline rows, in fixed order, and all t online ones: half and half, whatever there is stored.

  H2O, arXiv 2401.09681, data of iteration t + 1, so none in the first. t counts iterations of `per_iteration` rows.
  Offline rows that are used up stay in use.

  >>> print(*hybrid_rows(jnp.array(2), offline=4, online=3))
  [ True  True False False] [ True  True False]
  """
  count = jnp.asarray(iteration) * per_iteration
  return HybridRows(jnp.arange(offline) < count, jnp.arange(online) < count)
