"""Block-sparse linear layers: the outputs of a block read the same inputs, so every value read is used often.

Fast Sparse ConvNets, arXiv 1911.09723, whose 1 by 1 convolutions are linear layers over positions. Activations are
[inputs, positions]; a block is `block` outputs next to each other, for one input.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels.reductions import widen


class BlockCSR(NamedTuple):
  """Kept blocks, by rows of blocks, with inputs ascending in each row."""

  values: Float[Array, "blocks size"]
  columns: Int[Array, " blocks"]
  starts: Int[Array, " rows"]
  """Number of blocks before each row, then the number of all blocks: one entry more than there are rows."""


def _sizes(function, shape, block, sparsity):
  """Number of blocks, and number of pruned blocks, rounded to the nearest integer, halves to even."""
  if len(shape) != 2 or block < 1 or shape[0] % block or not 0 <= sparsity <= 1:
    raise ValueError(
      f"{function}: expected a weight [O I], a block that divides O and 0 <= sparsity <= 1, "
      f"got {shape}, {block} and {sparsity}"
    )
  count = shape[0] // block * shape[1]
  return count, round(sparsity * count)


def block_mask(weight: Float[Array, "O I"], *, sparsity: float, block: int = 1) -> Bool[Array, "O I"]:
  """True on all but the round(s n) blocks with the smallest mean |w|, the first ones of ties.

  Fast Sparse ConvNets, arXiv 1911.09723; the score is inferred for blocks of more than one. Blocks are kept or dropped
  as a whole. Sparsity 1 keeps nothing.

  >>> print(block_mask(jnp.array([[1.0, 5.0], [2.0, 0.0]]), sparsity=0.5, block=2))
  [[False  True]
   [False  True]]
  """
  count, pruned = _sizes("block_mask", weight.shape, block, sparsity)
  scores = jnp.abs(widen(weight)).reshape(-1, block, weight.shape[1]).mean(axis=1)
  order = jnp.argsort(scores.ravel(), stable=True)
  kept = jnp.zeros(count, bool).at[order[pruned:]].set(True)
  return jnp.repeat(kept.reshape(scores.shape), block, axis=0)


def block_csr(weight: Float[Array, "O I"], *, sparsity: float, block: int = 1) -> BlockCSR:
  """Only the blocks of `block_mask`, in the order of a compressed sparse row matrix.

  Fast Sparse ConvNets, arXiv 1911.09723. Their number follows from the sparsity, so shapes are static.

  >>> stored = block_csr(jnp.array([[1.0, 5.0], [2.0, 0.0]]), sparsity=0.5, block=2)
  >>> print(stored.values, stored.columns, stored.starts)
  [[5. 0.]] [1] [0 1]
  """
  count, pruned = _sizes("block_csr", weight.shape, block, sparsity)
  kept = block_mask(weight, sparsity=sparsity, block=block)[::block]
  places = jnp.argsort(~kept.ravel(), stable=True)[: count - pruned]
  blocks = jnp.swapaxes(widen(weight).reshape(-1, block, weight.shape[1]), 1, 2).reshape(count, block)
  starts = jnp.concatenate([jnp.zeros(1, jnp.int32), jnp.cumsum(kept.sum(axis=1, dtype=jnp.int32), dtype=jnp.int32)])
  return BlockCSR(blocks[places], (places % weight.shape[1]).astype(jnp.int32), starts)


def block_sparse_matmul(
  matrix: BlockCSR, x: Float[Array, "I P"], bias: Float[Array, " O"], *, relu: bool = False
) -> Float[Array, "O P"]:
  """W x + b from the stored blocks, and max(0, .) of it with `relu`; x is finite.

  Fast Sparse ConvNets, arXiv 1911.09723, whose kernels spend 2 operations on each stored value and position. Here the
  blocks are put back into a dense matrix: on a CPU, at a sparsity of 0.9, gathering rows of x takes twenty times as
  long. Without any block, the result is the bias b.

  >>> stored = block_csr(jnp.array([[1.0, 5.0], [2.0, 0.0]]), sparsity=0.5, block=2)
  >>> print(block_sparse_matmul(stored, jnp.array([[1.0], [2.0]]), jnp.array([0.5, -1.0]), relu=True))
  [[10.5]
   [ 0. ]]
  """
  rows, (count, block) = matrix.starts.shape[0] - 1, matrix.values.shape
  if x.ndim != 2 or bias.shape != (rows * block,) or matrix.columns.shape != (count,):
    raise ValueError(f"block_sparse_matmul: expected x [I P] and bias [{rows * block}], got {x.shape} and {bias.shape}")
  row = jnp.searchsorted(matrix.starts, jnp.arange(count), side="right") - 1
  values = widen(matrix.values)
  weight = jnp.zeros((rows, x.shape[0], block), values.dtype).at[row, matrix.columns].add(values)
  y = jnp.swapaxes(weight, 1, 2).reshape(rows * block, x.shape[0]) @ widen(x) + widen(bias)[:, None]
  return jax.nn.relu(y) if relu else y


def pruning_sparsity(
  step: Num[Array, "*N"], *, begin: int, end: int, final: float, frequency: int = 100
) -> Float[Array, "*N"]:
  """s_t = s_f (1 - (1 - (t - t0) / (t1 - t0))^3) for t0 <= t < t1, t at the last multiple of `frequency`; then s_f.

  The schedule of Zhu and Gupta, arXiv 1710.01878, which is inferred to be the recipe of arXiv 1911.09723. Masks are
  recomputed from the weights at each change, so pruned weights may come back until t1.

  >>> print(pruning_sparsity(jnp.array([0, 550, 900]), begin=100, end=900, final=0.8))
  [0.  0.7 0.8]
  """
  if not begin < end or frequency < 1:
    raise ValueError(f"pruning_sparsity: expected begin < end, frequency >= 1, got {begin}, {end} and {frequency}")
  step = jnp.asarray(step)
  held = begin + (step - begin) // frequency * frequency
  left = 1 - jnp.clip(widen(held - begin) / (end - begin), 0, 1)
  return jnp.where(step >= end, final, final * (1 - left**3))
