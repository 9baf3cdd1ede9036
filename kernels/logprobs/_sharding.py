"""Functions on devices of a mesh that split rows and vocabulary, and sums between them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from rl_jax.kernels.logprobs.placement import Placement
from rl_jax.kernels.logprobs.readout import Readout, RowStatistics


def on_devices(
  local: Callable[..., Any],
  inputs: tuple[Array, ...],
  readout: Readout,
  placement: Placement | None,
  *,
  matrices: tuple[int, ...] = (1,),
  matrix_out: bool = False,
) -> Any:
  """local(*inputs) on the rows and the part of the vocabulary that each device has; without a placement, on all.

  `matrices` are the places of output matrices among the inputs; the others have one entry per row, and so have the
  results, of which the second is a matrix with `matrix_out`.
  """
  if placement is None:
    return local(*inputs)
  rows, matrix = placement.specs(readout)
  in_specs = tuple(matrix if place in matrices else rows for place in range(len(inputs)))
  out_specs = (rows, matrix) if matrix_out else rows
  # Nothing is differentiated through here, so no check of what varies over which axis is needed.
  return jax.shard_map(local, mesh=placement.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)(*inputs)


def over_shards(statistics: RowStatistics, top: Any, placement: Placement | None) -> tuple[RowStatistics, Any]:
  """Statistics and largest scores of all shards of the vocabulary: one pmax and one psum of [2, N] arrays."""
  if placement is None or placement.vocabulary is None:
    return statistics, top
  axis = placement.vocabulary
  maximum, chosen = lax.pmax(jnp.stack([statistics.maximum, statistics.chosen]), axis)
  own = statistics.scaled(maximum)
  total, moment = lax.psum(jnp.stack([own.total, own.moment]), axis)
  if top[0].shape[1]:
    scores, ids = (lax.all_gather(x, axis, axis=1, tiled=True) for x in top)
    best, places = lax.top_k(scores, top[0].shape[1])
    top = best, jnp.take_along_axis(ids, places, axis=1)
  return RowStatistics(maximum, total, moment, chosen), top


def summed(d_hidden: Array, d_matrix: Array, placement: Placement | None) -> tuple[Array, Array]:
  """Both gradients from those of each device: d hidden over the vocabulary's axis, d matrix over the rows' axes."""
  if placement is None:
    return d_hidden, d_matrix
  return lax.psum(d_hidden, placement.vocabulary_axes), lax.psum(d_matrix, placement.rows)
