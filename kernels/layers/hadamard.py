"""Hadamard transforms in blocks: rotations that spread an outlier over its block before a coarse number format."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.reductions import widen


def hadamard_transform(x: Float[Array, "*N D"]) -> Float[Array, "*N D"]:
  """H x / sqrt(D), H_ij = (-1)^popcount(i & j): orthogonal and its own inverse; D is a power of two.

  Sylvester's order, computed by log2 D rounds of sums and differences. arXiv 2604.08826 uses it in blocks of 64.

  >>> print(hadamard_transform(jnp.array([1.0, 0.0, 0.0, 0.0])))
  [0.5 0.5 0.5 0.5]
  """
  width = x.shape[-1]
  if width < 1 or width & (width - 1):
    raise ValueError(f"hadamard_transform: expected a last axis that is a power of two, got {x.shape}")
  y, half = widen(x), 1
  while half < width:
    pairs = y.reshape(*x.shape[:-1], width // (2 * half), 2, half)
    low, high = pairs[..., 0, :], pairs[..., 1, :]
    y = jnp.stack([low + high, low - high], axis=-2).reshape(x.shape)
    half *= 2
  return y * width**-0.5


def random_hadamard(
  x: Float[Array, "*N D"], signs: Num[Array, " block"], *, inverse: bool = False
) -> Float[Array, "*N D"]:
  """y = H (s x) / sqrt(block) in each block of the last axis, s random signs; `inverse`: x = s (H y) / sqrt(block).

  arXiv 2604.08826, blocks of 64 along the axis that a product sums over: applied to both operands it cancels in the
  product. One draw of signs serves all blocks. D is a multiple of the block.

  >>> signs, x = jnp.array([1, -1]), jnp.array([3.0, 1.0, 0.0, 2.0])
  >>> print(random_hadamard(random_hadamard(x, signs), signs, inverse=True).round())
  [3. 1. 0. 2.]
  """
  block = signs.shape[0] if signs.ndim == 1 else 0
  if block < 1 or x.shape[-1] % block:
    raise ValueError(
      f"random_hadamard: expected a last axis in blocks of {block} (signs), got {x.shape} and {signs.shape}"
    )
  blocks, signs = widen(x).reshape(*x.shape[:-1], x.shape[-1] // block, block), widen(signs)
  y = signs * hadamard_transform(blocks) if inverse else hadamard_transform(signs * blocks)
  return y.reshape(x.shape)
