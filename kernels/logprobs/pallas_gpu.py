"""Logprobs from hidden states on a GPU: Pallas kernels that keep scores in registers (Triton).

Forward, a program takes some rows and one of `splits` parts of the vocabulary, so that few rows still fill the chip;
the parts are merged as shards of a vocabulary are. Backward, one kernel computes a block of scores again and turns it
into its gradient [rows, columns] at once; the two products with it are left to the compiler's own, in `Chunked`'s
order. Nothing is added atomically: results do not change from run to run.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs.chunked import Chunked
from rl_jax.kernels.logprobs.readout import LOWEST, Readout, RowGradients, RowStatistics


class PallasGPU(NamedTuple):
  """Tile sizes, powers of 2: `rows` x `columns` scores per program, summed over the width `depth` at a time.

  `chunks`: rows and columns of the largest array of the backward pass. `interpret` runs the kernels as plain JAX.
  """

  rows: int = 64
  columns: int = 128
  depth: int = 64
  splits: int = 16
  chunks: Chunked = Chunked(rows=4096, columns=8192)
  interpret: bool = False

  def statistics(
    self,
    hidden: Float[Array, "N D"],
    matrix: Float[Array, "..."],
    targets: Int[Array, "N 1"],
    readout: Readout,
    top_k: int = 0,
  ) -> tuple[RowStatistics, tuple[Array, Array]]:
    """The statistics of each row; `top_k` must be 0."""
    count, vocabulary = len(hidden), matrix.shape[readout.vocabulary_axis]
    grid = self._grid(count, vocabulary)
    partials = pl.pallas_call(
      partial(_statistics_kernel, tile=self, readout=readout, steps=pl.cdiv(grid[1], self.splits)),
      grid=(grid[0], self.splits),
      out_shape=[jax.ShapeDtypeStruct((self.splits, grid[0] * self.rows), jnp.float32)] * 4,
      **self._call(),
    )(targets[:, 0], hidden, matrix)
    maximum, chosen = partials[0].max(axis=0), partials[3].max(axis=0)
    parts = RowStatistics(*partials).scaled(maximum)
    statistics = RowStatistics(maximum, parts.total.sum(axis=0), parts.moment.sum(axis=0), chosen)
    no_top = jnp.zeros((count, top_k)), jnp.zeros((count, top_k), jnp.int32)
    return RowStatistics(*(x[:count, None] for x in statistics)), no_top

  def gradients(
    self,
    hidden: Float[Array, "N D"],
    matrix: Float[Array, "..."],
    targets: Int[Array, "N 1"],
    row_gradients: RowGradients,
    readout: Readout,
  ) -> tuple[Float[Array, "N D"], Float[Array, "..."]]:
    """The gradient by the hidden states in float32, and that by the matrix in its own type."""
    return self.chunks.gradients(hidden, matrix, targets, row_gradients, readout, self._d_products)

  def _d_products(self, hidden, block, targets, row_gradients, readout):
    count, width = len(hidden), block.shape[readout.vocabulary_axis]
    grid = self._grid(count, width)
    # Tiles are stored whole: interpreted, a masked store at clamped indices would put back what was there before.
    padded = pl.pallas_call(
      partial(_d_products_kernel, tile=self, readout=readout),
      grid=grid,
      out_shape=jax.ShapeDtypeStruct(
        (grid[0] * self.rows, grid[1] * self.columns), jnp.promote_types(hidden.dtype, block.dtype)
      ),
      **self._call(),
    )(targets[:, 0], jnp.concatenate(row_gradients, axis=1).T, hidden, block)
    return padded[:count, :width]

  def _grid(self, count, vocabulary):
    return pl.cdiv(count, self.rows), pl.cdiv(vocabulary, self.columns)

  def _call(self):
    params = plgpu.CompilerParams(num_warps=8, num_stages=3)
    return dict(compiler_params=params, interpret=self.interpret)


def _products(hidden_ref, matrix_ref, row, column, tile, readout):
  """hidden @ matrix of a tile: rows from `row` and columns from `column` on, 0 outside of the arrays."""
  count, width = hidden_ref.shape
  rows, columns = row + jnp.arange(tile.rows), column + jnp.arange(tile.columns)
  vocabulary = matrix_ref.shape[readout.vocabulary_axis]

  def add(step, products):
    depths = step * tile.depth + jnp.arange(tile.depth)
    hidden = _load(hidden_ref, rows, depths, count, width)
    if readout.layout == "DV":
      block = _load(matrix_ref, depths, columns, width, vocabulary)
    else:
      block = _load(matrix_ref, columns, depths, vocabulary, width)
    return products + readout.products(hidden, block)

  return lax.fori_loop(0, pl.cdiv(width, tile.depth), add, jnp.zeros((tile.rows, tile.columns), jnp.float32))


def _load(ref, first, second, first_end, second_end):
  within = (first < first_end)[:, None] & (second < second_end)[None]
  at = ref.at[jnp.minimum(first, first_end - 1)[:, None], jnp.minimum(second, second_end - 1)[None]]
  return plgpu.load(at, mask=within, other=0)


def _statistics_kernel(target_ref, hidden_ref, matrix_ref, *out_refs, tile, readout, steps):
  row, split = pl.program_id(0) * tile.rows, pl.program_id(1)
  count, vocabulary = hidden_ref.shape[0], matrix_ref.shape[readout.vocabulary_axis]
  rows = row + jnp.arange(tile.rows)
  targets = plgpu.load(target_ref.at[jnp.minimum(rows, count - 1)])[:, None]

  def with_columns(step, statistics):
    column = (split * steps + step) * tile.columns
    scores = readout.scores(_products(hidden_ref, matrix_ref, row, column, tile, readout))
    ids = (column + jnp.arange(tile.columns))[None]
    return statistics.updated(jnp.where(ids < vocabulary, scores, LOWEST), ids == targets)

  statistics = lax.fori_loop(0, steps, with_columns, RowStatistics.start(tile.rows, jnp.float32))
  for ref, value in zip(out_refs, statistics, strict=True):
    plgpu.store(ref.at[split, pl.ds(row, tile.rows)], value[:, 0])


def _d_products_kernel(target_ref, gradients_ref, hidden_ref, matrix_ref, out_ref, *, tile, readout):
  row, column = pl.program_id(0) * tile.rows, pl.program_id(1) * tile.columns
  ids = column + jnp.arange(tile.columns)
  last = jnp.minimum(row + jnp.arange(tile.rows), hidden_ref.shape[0] - 1)
  row_gradients = RowGradients(*(plgpu.load(gradients_ref.at[i, last])[:, None] for i in range(4)))
  targets = plgpu.load(target_ref.at[last])[:, None]
  products = _products(hidden_ref, matrix_ref, row, column, tile, readout)
  d_products = readout.pull_back(row_gradients.d_scores(readout.scores(products), ids[None] == targets), products)
  at = out_ref.at[pl.ds(row, tile.rows), pl.ds(column, tile.columns)]
  plgpu.store(at, d_products.astype(out_ref.dtype))
