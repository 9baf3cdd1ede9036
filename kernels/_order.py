"""The one order of rankings: by descending score, of equal ones the first."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Num

from rl_jax.kernels.reductions import widen


def largest(
  scores: Num[Array, "*B C"], mask: Num[Array, "*B C"], k: int
) -> tuple[Int[Array, "*B k"], Bool[Array, "*B k"]]:
  """Indices of the k largest scores, in that order, and whether they exist: 0 and False where there are fewer.

  Raises: ValueError: k is negative.
  """
  if k < 0:
    raise ValueError(f"a number of the largest is at least 0, got {k}")
  exists = mask != 0
  # Not by lowering scores: one of -inf would tie with what does not exist.
  order = jnp.lexsort((-widen(jnp.where(exists, scores, 0)), ~exists))[..., :k].astype(jnp.int32)
  selected = jnp.take_along_axis(exists, order, axis=-1)
  return jnp.where(selected, order, 0), selected
