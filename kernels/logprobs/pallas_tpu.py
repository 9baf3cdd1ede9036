"""Logprobs from hidden states on a TPU: Pallas kernels that hold a block of scores in vector memory.

Three kernels over a grid of row blocks and blocks of the vocabulary: the statistics of rows, the gradient by hidden
states, and the gradient by the matrix, each of which sums over its inner grid axis in place. The last two compute the
scores again, so forward and backward take five products where `Chunked` takes four; no score reaches main memory.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs.readout import LOWEST, Readout, RowGradients, RowStatistics

VECTOR_MEMORY = 64 << 20
"""Bytes that a kernel may use: below what each of v5e, v5p and v6e has."""


class PallasTPU(NamedTuple):
  """Block sizes: `rows` tokens by at most `columns` of the vocabulary, fewer where the width D is large.

  `interpret` runs the kernels as plain JAX, on any platform.
  """

  rows: int = 512
  columns: int = 512
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
    blocks = _Blocks.of(self, hidden, matrix, readout)
    column = pl.BlockSpec((blocks.rows, 1), lambda i, j: (i, 0))
    columns = pl.pallas_call(
      partial(_statistics_kernel, blocks=blocks),
      grid=blocks.grid,
      in_specs=[column, blocks.hidden_spec(lambda i, j: i), blocks.matrix_spec(lambda i, j: j)],
      out_specs=[column] * 4,
      out_shape=[jax.ShapeDtypeStruct((blocks.padded_rows, 1), jnp.float32)] * 4,
      compiler_params=_params(),
      interpret=self.interpret,
    )(blocks.fill(targets), blocks.fill(hidden), matrix)
    no_top = jnp.zeros((len(hidden), top_k)), jnp.zeros((len(hidden), top_k), jnp.int32)
    return RowStatistics(*(x[: len(hidden)] for x in columns)), no_top

  def gradients(
    self,
    hidden: Float[Array, "N D"],
    matrix: Float[Array, "..."],
    targets: Int[Array, "N 1"],
    row_gradients: RowGradients,
    readout: Readout,
  ) -> tuple[Float[Array, "N D"], Float[Array, "..."]]:
    """The gradient by the hidden states in float32, and that by the matrix in its own type."""
    blocks = _Blocks.of(self, hidden, matrix, readout)
    inputs = (blocks.fill(targets), blocks.fill(jnp.concatenate(row_gradients, axis=1)), blocks.fill(hidden), matrix)

    def in_specs(row, column):
      per_row = lambda width: pl.BlockSpec((blocks.rows, width), lambda i, j: (row(i, j), 0))
      return [per_row(1), per_row(4), blocks.hidden_spec(row), blocks.matrix_spec(column)]

    first, second = (lambda i, j: i), (lambda i, j: j)
    d_hidden = pl.pallas_call(
      partial(_d_hidden_kernel, blocks=blocks),
      grid=blocks.grid,
      in_specs=in_specs(first, second),
      out_specs=blocks.hidden_spec(first),
      out_shape=jax.ShapeDtypeStruct((blocks.padded_rows, hidden.shape[1]), jnp.float32),
      compiler_params=_params(),
      interpret=self.interpret,
    )(*inputs)
    d_matrix = pl.pallas_call(
      partial(_d_matrix_kernel, blocks=blocks),
      grid=blocks.grid[::-1],
      in_specs=in_specs(second, first),
      out_specs=blocks.matrix_spec(first),
      out_shape=jax.ShapeDtypeStruct(matrix.shape, matrix.dtype),
      scratch_shapes=[pltpu.VMEM(blocks.matrix_block, jnp.float32)],
      compiler_params=_params(),
      interpret=self.interpret,
    )(*inputs)
    return d_hidden[: len(hidden)], d_matrix


class _Blocks(NamedTuple):
  readout: Readout
  tokens: int
  width: int
  vocabulary: int
  rows: int
  columns: int

  @classmethod
  def of(cls, sizes, hidden, matrix, readout):
    if jnp.promote_types(hidden.dtype, matrix.dtype) not in (jnp.float32, jnp.bfloat16):
      raise ValueError(f"'pallas' takes float32 and bfloat16, got {hidden.dtype} and {matrix.dtype}; use 'chunked'")
    if matrix.dtype == jnp.float32:
      readout = readout._replace(precision=lax.Precision.HIGHEST)
    count, width = hidden.shape
    vocabulary = matrix.shape[readout.vocabulary_axis]
    columns = sizes.columns
    # The kernel of the matrix's gradient holds the most: two blocks in, two out and a float32 sum.
    while columns > 128 and width * columns * (4 * matrix.dtype.itemsize + 4) > VECTOR_MEMORY // 2:
      columns //= 2
    return cls(readout, count, width, vocabulary, min(sizes.rows, -(-count // 16) * 16), min(columns, vocabulary))

  @property
  def grid(self):
    return pl.cdiv(self.tokens, self.rows), pl.cdiv(self.vocabulary, self.columns)

  @property
  def padded_rows(self):
    return self.grid[0] * self.rows

  @property
  def matrix_block(self):
    return (self.width, self.columns) if self.readout.layout == "DV" else (self.columns, self.width)

  def fill(self, x):
    return jnp.pad(x, ((0, self.padded_rows - self.tokens), (0, 0)))

  def hidden_spec(self, row):
    return pl.BlockSpec((self.rows, self.width), lambda i, j: (row(i, j), 0))

  def matrix_spec(self, column):
    at = (lambda i, j: (0, column(i, j))) if self.readout.layout == "DV" else (lambda i, j: (column(i, j), 0))
    return pl.BlockSpec(self.matrix_block, at)

  def ids(self, block, shape, axis):
    return block * self.columns + lax.broadcasted_iota(jnp.int32, shape, axis)

  def within(self, matrix, block):
    """The block of the matrix with 0 past the vocabulary's end, where the input may hold anything."""
    if self.vocabulary % self.columns == 0:
      return matrix
    ids = self.ids(block, matrix.shape, self.readout.vocabulary_axis)
    return jnp.where(ids < self.vocabulary, matrix, jnp.zeros((), matrix.dtype))


def _params():
  return pltpu.CompilerParams(dimension_semantics=("parallel", "arbitrary"), vmem_limit_bytes=VECTOR_MEMORY)


def _statistics_kernel(target_ref, hidden_ref, matrix_ref, *statistics_refs, blocks):
  step = pl.program_id(1)

  @pl.when(step == 0)
  def _():
    for ref, value in zip(statistics_refs, RowStatistics.start(blocks.rows, jnp.float32), strict=True):
      ref[...] = value

  readout = blocks.readout
  scores = readout.scores(readout.products(hidden_ref[...], matrix_ref[...]))
  ids = blocks.ids(step, scores.shape, 1)
  scores = jnp.where(ids < blocks.vocabulary, scores, LOWEST)
  old = RowStatistics(*(ref[...] for ref in statistics_refs))
  for ref, value in zip(statistics_refs, old.updated(scores, ids == target_ref[...]), strict=True):
    ref[...] = value


def _d_products(target_ref, gradients_ref, hidden_ref, matrix, column_block, blocks):
  readout, row_gradients = blocks.readout, gradients_ref[...]
  products = readout.products(hidden_ref[...], matrix)
  ids = blocks.ids(column_block, products.shape, 1)
  row_gradients = RowGradients(*(row_gradients[:, i : i + 1] for i in range(4)))
  d_scores = row_gradients.d_scores(readout.scores(products), ids == target_ref[...])
  return readout.pull_back(jnp.where(ids < blocks.vocabulary, d_scores, 0), products)


def _d_hidden_kernel(target_ref, gradients_ref, hidden_ref, matrix_ref, d_hidden_ref, *, blocks):
  step = pl.program_id(1)

  @pl.when(step == 0)
  def _():
    d_hidden_ref[...] = jnp.zeros_like(d_hidden_ref)

  matrix = blocks.within(matrix_ref[...], step)
  d_products = _d_products(target_ref, gradients_ref, hidden_ref, matrix, step, blocks)
  d_hidden_ref[...] += blocks.readout.d_hidden(d_products, matrix)


def _d_matrix_kernel(target_ref, gradients_ref, hidden_ref, matrix_ref, d_matrix_ref, sum_ref, *, blocks):
  column_block, step = pl.program_id(0), pl.program_id(1)

  @pl.when(step == 0)
  def _():
    sum_ref[...] = jnp.zeros_like(sum_ref)

  d_products = _d_products(target_ref, gradients_ref, hidden_ref, matrix_ref[...], column_block, blocks)
  sum_ref[...] += blocks.readout.d_block(d_products, hidden_ref[...])

  @pl.when(step == pl.num_programs(1) - 1)
  def _():
    d_matrix_ref[...] = sum_ref[...].astype(d_matrix_ref.dtype)
