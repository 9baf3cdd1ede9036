"""Monarch matrices: two block-diagonal factors with a fixed permutation between them, in place of a dense matrix.

arXiv 2204.00595: M = P L P^T R, with 2 n sqrt(n) parameters instead of n^2 in a dense matrix. Factors are `first`
[k q p], k blocks of q by p, and `second` [m s r], with m r = k q; M maps k p inputs to m s outputs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import widen


class Monarch(NamedTuple):
  """The factors of M, in the order in which they are applied."""

  first: Float[Array, "k q p"]
  second: Float[Array, "m s r"]


class MonarchShapes(NamedTuple):
  """Shapes of the factors that replace a linear layer."""

  first: tuple[int, int, int]
  second: tuple[int, int, int]

  @property
  def parameters(self) -> int:
    """Number of entries of both factors."""
    return math.prod(self.first) + math.prod(self.second)

  @property
  def bounds(self) -> tuple[float, float]:
    """Initialisation bounds b of both factors: entries start uniform in (-b, b), b = 1 / sqrt(width of a block)."""
    return self.first[2] ** -0.5, self.second[2] ** -0.5


def monarch_shapes(inputs: int, outputs: int, *, blocks: int = 4) -> MonarchShapes:
  """Shapes of the factors with `blocks` blocks each: the inner width is the smaller of a block's inputs and outputs.

  arXiv 2204.00595, its code. A block has ceil(inputs / blocks) inputs and ceil(outputs / blocks) outputs: `monarch`
  pads the input with zeros and truncates the output. 2 to 4 blocks keep 25 to 50 % of the parameters.

  >>> print(*monarch_shapes(64, 256))
  (4, 16, 16) (4, 64, 16)
  """
  if min(inputs, outputs, blocks) < 1:
    raise ValueError(f"monarch_shapes: sizes start at 1, got {inputs} inputs, {outputs} outputs, {blocks} blocks")
  wide, tall = -(-inputs // blocks), -(-outputs // blocks)
  inner = wide if wide < tall else tall
  return MonarchShapes((blocks, inner, wide), (blocks, tall, inner))


def monarch(
  x: Float[Array, "*N I"], first: Float[Array, "k q p"], second: Float[Array, "m s r"], *, width: int | None = None
) -> Float[Array, "*N O"]:
  """y = M x: mid_{a b} = sum_c first_{a b c} x_{a p + c}; y_{b m + a} = sum_c second_{a b c} mid_{c m + a}.

  arXiv 2204.00595. mid is indexed row by row. An input of fewer than k p entries is padded with zeros; `width`
  truncates the output.

  >>> first, second = jnp.ones((2, 2, 1)), jnp.ones((2, 1, 2))
  >>> print(monarch(jnp.array([3.0, 4.0]), first, second))
  [7. 7.]
  """
  _check("monarch", first, second)
  (k, _, p), (m, s, r) = first.shape, second.shape
  if x.shape[-1] > k * p or (width or 0) > m * s:
    raise ValueError(f"monarch: {k * p} inputs and {m * s} outputs are too few for {x.shape[-1]} and width {width}")
  x, first, second = widen(x), widen(first), widen(second)
  x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, k * p - x.shape[-1])])
  middle = jnp.einsum("kqp,...kp->...kq", first, x.reshape(*x.shape[:-1], k, p))
  y = jnp.einsum("msr,...rm->...sm", second, middle.reshape(*x.shape[:-1], r, m))
  return y.reshape(*x.shape[:-1], s * m)[..., :width]


def monarch_dense(first: Float[Array, "k q p"], second: Float[Array, "m s r"]) -> Float[Array, "O I"]:
  """The dense matrix M, with entries M_{b m + a, i p + c} summed over the middle, for training to continue dense.

  arXiv 2204.00595, reverse sparsification: replacing the layer by M does not change the function. 90 % of the steps
  come before, 10 % after. Restarting the optimiser's moments at zero is inferred.

  >>> print(monarch_dense(jnp.ones((2, 2, 1)), jnp.ones((2, 1, 2))))
  [[1. 1.]
   [1. 1.]]
  """
  _check("monarch_dense", first, second)
  k, _, p = first.shape
  return monarch(jnp.eye(k * p, dtype=widen(first).dtype), first, second).T


def monarch_projection(matrix: Float[Array, "O I"], *, blocks: tuple[int, int] | None = None) -> Monarch:
  """The Monarch matrix nearest to a dense one in Frobenius norm: the best rank-one matrix of each block.

  arXiv 2204.00595. `blocks` is (R, K), where R divides the inputs and K the outputs; by default, for a square matrix,
  the two factors of n that are closest to each other, larger first. Block (k, r) is A[p K + k, r S + s] over p and s,
  S = I / R; with sigma u v^T its largest singular triple, second_{k p r} = sqrt(sigma) u_p and
  first_{r k s} = sqrt(sigma) v_s. The squared distance is the sum of the squares of all other singular values. The sign
  of a pair u, v is arbitrary. Matrices may be complex: a Fourier matrix with bit-reversed columns is Monarch.

  >>> factors = monarch_projection(jnp.ones((4, 4)))
  >>> print(monarch_dense(*factors)[0].round())
  [1. 1. 1. 1.]
  """
  if matrix.ndim != 2 or not matrix.size:
    raise ValueError(f"monarch_projection: expected a matrix [O I] with entries, got {matrix.shape}")
  outputs, inputs = matrix.shape
  if blocks is None:
    if inputs != outputs:
      raise ValueError(f"monarch_projection: a matrix that is not square needs blocks, got {matrix.shape}")
    smaller = max(d for d in range(1, math.isqrt(inputs) + 1) if inputs % d == 0)
    blocks = inputs // smaller, smaller
  rows, columns = blocks
  if min(blocks) < 1 or inputs % rows or outputs % columns:
    raise ValueError(
      f"monarch_projection: expected blocks that divide inputs and outputs, got {blocks} for {matrix.shape}"
    )
  grid = widen(matrix).reshape(outputs // columns, columns, rows, inputs // rows).transpose(1, 2, 0, 3)
  u, sigma, v = jnp.linalg.svd(grid, full_matrices=False)
  root = jnp.sqrt(sigma[..., :1])
  return Monarch((root * v[..., 0, :]).swapaxes(0, 1), (root * u[..., 0]).swapaxes(1, 2))


def _check(function, first, second):
  if first.ndim != 3 or second.ndim != 3 or math.prod(first.shape[:2]) != second.shape[0] * second.shape[2]:
    raise ValueError(
      f"{function}: expected factors [k q p] and [m s r] with k q = m r, got {first.shape}, {second.shape}"
    )
