"""Logprobs from hidden states in plain XLA: blocks of rows and of the vocabulary, none of which outlives its turn.

Forward: one product. Backward: one recomputed product and the two of the gradients. The largest arrays are the scores
of a block [rows, columns] and its slice of the matrix, whatever N and V.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rl_jax.kernels.logprobs import _blocks
from rl_jax.kernels.logprobs.readout import LOWEST, Readout, RowGradients, RowStatistics


class Chunked(NamedTuple):
  """Block sizes: `rows` tokens by `columns` of the vocabulary."""

  rows: int = 1024
  columns: int = 1024

  @classmethod
  def sized(cls, width: int) -> Chunked:
    """Blocks for hidden states of a width on this platform.

    Measured on a CPU with 2 cores, in CPU seconds at 512 tokens and a vocabulary of 16,384. Forward is as fast as with
    logits that are kept. Forward plus backward takes 1.3 times as long at width 2048 and 1.4 times at 4096: 4 products
    in place of 3, and passes over the scores. Blocks of 256 took 1.6 and 1.7 times as long. What is needed stays below
    a nineteenth of the logits at widths to 2048, and a ninth at 4096 (1024 tokens, a vocabulary of 151,936). Elsewhere
    larger, not measured.
    """
    if jax.default_backend() != "cpu":
      return cls(rows=4096, columns=2048)
    side = 1024 if width <= 1024 else 512
    return cls(side, side)

  def statistics(
    self,
    hidden: Float[Array, "N D"],
    matrix: Float[Array, "..."],
    targets: Int[Array, "N 1"],
    readout: Readout,
    top_k: int = 0,
  ) -> tuple[RowStatistics, tuple[Float[Array, "N K"], Int[Array, "N K"]]]:
    """The statistics of each row, and its `top_k` largest scores with their ids."""
    dtype = jnp.promote_types(jnp.promote_types(hidden.dtype, matrix.dtype), jnp.float32)

    def of_rows(hidden, targets):
      def with_columns(carry, start, width):
        statistics, top = carry
        scores = readout.scores(readout.products(hidden, _blocks.columns_of(matrix, readout, start, width)))
        statistics = statistics.updated(scores, jnp.arange(width) == targets - start)
        return statistics, _merge_top(top, scores, start) if top_k else top

      empty = (jnp.full((len(hidden), top_k), LOWEST, dtype), jnp.zeros((len(hidden), top_k), jnp.int32))
      first = (RowStatistics.start(len(hidden), dtype), empty)
      return _blocks.over_columns(with_columns, first, matrix.shape[readout.vocabulary_axis], self.columns)

    return _blocks.over_rows(of_rows, (hidden, targets), self.rows)

  def gradients(
    self,
    hidden: Float[Array, "N D"],
    matrix: Float[Array, "..."],
    targets: Int[Array, "N 1"],
    row_gradients: RowGradients,
    readout: Readout,
    d_products: Callable[..., Array] | None = None,
  ) -> tuple[Float[Array, "N D"], Float[Array, "..."]]:
    """The gradient by the hidden states in float32 or wider, and that by the matrix in its own type.

    `d_products(hidden, block, targets, row_gradients, readout)` computes a block of scores again and gives the gradient
    by its products: a fused kernel may replace the plain one.
    """

    def of_block(start, block, hidden, targets, *row_gradients):
      return (d_products or _d_products)(hidden, block, targets - start, RowGradients(*row_gradients), readout)

    return _blocks.gradients(of_block, (hidden, targets, *row_gradients), matrix, readout, self.rows, self.columns)


def _d_products(hidden, block, targets, row_gradients, readout):
  products = readout.products(hidden, block)
  is_target = jnp.arange(products.shape[1]) == targets
  return readout.pull_back(row_gradients.d_scores(readout.scores(products), is_target), products)


def _merge_top(top, scores, start):
  """The k largest of what was found so far and a block. At equal scores the smaller id comes first."""
  ids = jnp.broadcast_to(start + jnp.arange(scores.shape[1], dtype=jnp.int32), scores.shape)
  scores, ids = (jnp.concatenate(pair, axis=1) for pair in zip(top, (scores, ids), strict=True))
  best, places = _blocks.largest(scores, top[0].shape[1])
  return best, jnp.take_along_axis(ids, places, axis=1)
