"""The custom derivative that all implementations share, on one device or with rows and vocabulary over a mesh.

Kept for the backward pass: the inputs, and the logsumexp and entropy of each row. The derivative is taken outside of
the part that runs on each device, so all collectives are here: [N] forward, the two gradients backward.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
from jax import lax
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs._sharding import on_devices, over_shards, summed
from rl_jax.kernels.logprobs.placement import Placement
from rl_jax.kernels.logprobs.readout import Readout, RowGradients


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
