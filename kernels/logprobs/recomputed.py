"""The custom derivative that all implementations share, on one device or with rows and vocabulary over a mesh.

Kept for the backward pass: the inputs, and the logsumexp and entropy of each row. The derivative is taken outside of
the part that runs on each device, so all collectives are here: [N] forward, the two gradients backward.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import AbstractMesh, Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs.readout import Readout, RowGradients, RowStatistics


class Placement(NamedTuple):
  """The mesh, its axes that split rows, and its axis that splits the vocabulary (None: whole on every device).

  Forward moves arrays [N] over the vocabulary's axis; backward sums d hidden [N, D] over it and d matrix over `rows`.
  """

  mesh: Mesh | AbstractMesh
  rows: tuple[str, ...] = ("data",)
  vocabulary: str | None = "tensor"

  def specs(self, readout: Readout) -> tuple[PartitionSpec, PartitionSpec]:
    """Partition specs of arrays with one entry per row, and of the matrix."""
    matrix: list[str | None] = [None, None]
    matrix[readout.vocabulary_axis] = self.vocabulary
    return PartitionSpec(self.rows), PartitionSpec(*matrix)

  @property
  def vocabulary_axes(self) -> tuple[str, ...]:
    """The vocabulary's axis as a tuple of none or one."""
    return () if self.vocabulary is None else (self.vocabulary,)

  def shards(self, axes: tuple[str, ...]) -> int:
    """Number of devices along axes of the mesh."""
    return math.prod(self.mesh.shape[name] for name in axes)

  def check(self, name: str, rows: int, vocabulary: int) -> None:
    """Raise ValueError, for a function of this name, unless rows and vocabulary go evenly over their devices."""
    for what, size, axes in (("rows", rows, self.rows), ("tokens", vocabulary, self.vocabulary_axes)):
      if size % self.shards(axes):
        devices = f"the {self.shards(axes)} devices of mesh axes {axes}"
        raise ValueError(f"{name}: {size} {what} do not divide over {devices}")


class Outputs(NamedTuple):
  """Logprob of the target and entropy [N], and the k largest logprobs with their ids [N, k]."""

  logprobs: Float[Array, " N"]
  entropies: Float[Array, " N"]
  top_logprobs: Float[Array, "N K"]
  top_tokens: Int[Array, "N K"]


class Recomputed(NamedTuple):
  """Outputs of rows with their derivative, from two passes over blocks.

  `passes` is a `Chunked`, or what has its methods. Static and hashable. Called with hidden [N, D], the matrix, and
  targets [N].
  """

  passes: Any
  readout: Readout
  top_k: int = 0
  placement: Placement | None = None

  def __call__(self, hidden: Float[Array, "N D"], matrix: Float[Array, "..."], targets: Int[Array, " N"]) -> Outputs:
    return _recomputed(hidden, matrix, targets, self)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _recomputed(hidden, matrix, targets, how):
  return _forward(hidden, matrix, targets, how)[0]


def _forward(hidden, matrix, targets, how):
  passes, readout, top_k, placement = how

  def local(hidden, matrix, targets):
    start = _shard_start(matrix, readout, placement)
    statistics, top = passes.statistics(hidden, matrix, targets[:, None] - start, readout, top_k)
    statistics, top = over_shards(statistics, (top[0], top[1] + start), placement)
    logprobs, entropies, normalizers = statistics.finish()
    return Outputs(logprobs, entropies, top[0] - normalizers[:, None], top[1]), normalizers

  outputs, normalizers = on_devices(local, (hidden, matrix, targets), readout, placement)
  return outputs, (hidden, matrix, targets, normalizers, outputs.entropies)


def _backward(how, residuals, gradients):
  passes, readout, _, placement = how

  def local(hidden, matrix, targets, *per_row):
    row_gradients = RowGradients(*(x[:, None] for x in per_row))
    targets = targets[:, None] - _shard_start(matrix, readout, placement)
    d_hidden, d_matrix = summed(*passes.gradients(hidden, matrix, targets, row_gradients, readout), placement)
    return d_hidden.astype(hidden.dtype), d_matrix

  inputs = (*residuals, gradients.logprobs, gradients.entropies)
  d_hidden, d_matrix = on_devices(local, inputs, readout, placement, matrix_out=True)
  return d_hidden, d_matrix, None


_recomputed.defvjp(_forward, _backward)


def _shard_start(matrix, readout, placement):
  """Id of the first token that this device has."""
  if placement is None or placement.vocabulary is None:
    return 0
  return lax.axis_index(placement.vocabulary) * matrix.shape[readout.vocabulary_axis]


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
