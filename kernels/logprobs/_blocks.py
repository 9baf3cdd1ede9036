"""Loops over blocks of rows and of the vocabulary, the gradients that they add up, and the largest scores.

A block holds at most `rows` tokens and `columns` of the vocabulary. Row block j holds rows j, j + count, j + 2 count,
...: where rows are sharded over devices, every block is too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs.readout import Readout


def over_rows(function: Callable[..., Any], arrays: tuple[Array, ...], rows: int) -> Any:
  """function(blocks of the arrays [n, ...]) on all row blocks: trees of [n, ...] put together to [N, ...]."""
  blocks, count = _split(arrays, rows)
  if count == 1:
    results = jax.tree.map(lambda x: x[:, None], function(*_take(blocks, 0)))
  else:
    results = lax.map(lambda j: function(*_take(blocks, j)), jnp.arange(count))
    results = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), results)
  return jax.tree.map(lambda x: _join(x, len(arrays[0])), results)


def over_columns(step: Callable[[Any, Any, int], Any], carry: Any, vocabulary: int, columns: int) -> Any:
  """carry = step(carry, start, width) over the whole vocabulary; the last block may be narrower than the others."""
  full_blocks = vocabulary // columns
  if full_blocks:
    starts = jnp.arange(full_blocks) * columns
    carry, _ = lax.scan(lambda c, start: (step(c, start, columns), None), carry, starts)
  rest = vocabulary - full_blocks * columns
  return step(carry, vocabulary - rest, rest) if rest else carry


def columns_of(matrix: Float[Array, "..."], readout: Readout, start: Any, width: int) -> Float[Array, "..."]:
  """The part of the matrix that gives the scores start, ..., start + width - 1."""
  part = lax.dynamic_slice_in_dim(_as_bits(matrix), start, width, readout.vocabulary_axis)
  return lax.bitcast_convert_type(part, matrix.dtype)


def gradients(
  d_products: Callable[..., Array],
  per_row: tuple[Array, ...],
  matrix: Float[Array, "..."],
  readout: Readout,
  rows: int,
  columns: int,
) -> tuple[Float[Array, "N D"], Float[Array, "..."]]:
  """The gradient by the hidden states per_row[0], in float32 or wider, and that by the matrix, in its own type.

  `d_products(start, block, *row blocks of per_row)` computes a block of scores again and gives the gradient by its
  products [n, width]. Each block of the matrix is read once, and each of its gradients written once.
  """
  blocks, count = _split(per_row, rows)
  dtype = jnp.promote_types(jnp.promote_types(per_row[0].dtype, matrix.dtype), jnp.float32)

  def with_columns(carry, start, width):
    d_hidden, d_matrix = carry
    block = columns_of(matrix, readout, start, width)

    def with_rows(carry, j):
      d_hidden, d_block = carry
      row_block = _take(blocks, j)
      products = d_products(start, block, *row_block)
      updated = readout.d_hidden(products, block) + lax.dynamic_index_in_dim(d_hidden, j, 1, keepdims=False)
      d_hidden = lax.dynamic_update_index_in_dim(d_hidden, updated, j, 1)
      return (d_hidden, d_block + readout.d_block(products, row_block[0])), None

    first = (d_hidden, jnp.zeros(block.shape, dtype))
    (d_hidden, d_block), _ = with_rows(first, 0) if count == 1 else lax.scan(with_rows, first, jnp.arange(count))
    d_block = _as_bits(d_block.astype(matrix.dtype))
    return d_hidden, lax.dynamic_update_slice_in_dim(d_matrix, d_block, start, readout.vocabulary_axis)

  first = (jnp.zeros(blocks[0].shape, dtype), jnp.zeros_like(_as_bits(matrix)))
  d_hidden, d_matrix = over_columns(with_columns, first, matrix.shape[readout.vocabulary_axis], columns)
  return _join(d_hidden, len(per_row[0])), lax.bitcast_convert_type(d_matrix, matrix.dtype)


def largest(scores: Float[Array, "N C"], k: int) -> tuple[Float[Array, "N K"], Int[Array, "N K"]]:
  """The k largest scores of each row and their places, the smaller place first where scores are equal.

  Maxima are taken in turn: `jax.lax.top_k` would gather the scores where rows are sharded over devices.
  """
  columns = jnp.arange(scores.shape[1])

  def following(scores, _):
    places = jnp.argmax(scores, axis=1, keepdims=True)
    best = jnp.take_along_axis(scores, places, axis=1)
    return jnp.where(columns == places, -jnp.inf, scores), (best[:, 0], places[:, 0].astype(jnp.int32))

  _, (best, places) = lax.scan(following, scores, length=k)
  return best.T, places.T


def _as_bits(x):
  """View bfloat16 as integers on a CPU, where XLA would convert the whole array to float32 for its slices."""
  sliced_wide = x.dtype == jnp.bfloat16 and jax.default_backend() == "cpu"
  return lax.bitcast_convert_type(x, jnp.uint16) if sliced_wide else x


def _split(arrays, rows):
  """Arrays [N, ...] as [size, count, ...] with size <= rows, the last rows filled up with zeros."""
  count = max(1, -(-len(arrays[0]) // rows))
  size = -(-len(arrays[0]) // count)
  fill = lambda x: jnp.pad(x, ((0, count * size - len(x)), *((0, 0),) * (x.ndim - 1)))
  return tuple(fill(x).reshape(size, count, *x.shape[1:]) for x in arrays), count


def _take(blocks, j):
  return tuple(lax.dynamic_index_in_dim(x, j, 1, keepdims=False) for x in blocks)


def _join(x, rows):
  return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])[:rows]
