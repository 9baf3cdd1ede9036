"""Roofline of a pass through a model: minimal operations and bytes, and the rates of this machine."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from rl_jax.kernels.benchmarks.timing import seconds
from rl_jax.models.architecture import TransformerConfig


def forward_flops(config: TransformerConfig, tokens: int, attended: float, outputs: int | None = None) -> float:
  """Floating-point operations of the matrix products of one forward pass.

  Args:
    attended: mean number of slots that a token attends to.
    outputs: number of tokens with an output; None: all.
  """
  heads, shared = config.heads * config.head_width, config.key_value_heads * config.head_width
  layer = config.width * (2 * heads + 2 * shared + 3 * config.feed_forward) + 2 * heads * attended
  outputs = tokens if outputs is None else outputs
  return 2.0 * (tokens * config.layers * layer + outputs * config.width * config.outputs)


def decode_bytes(config: TransformerConfig, rows: int, attended: float) -> float:
  """Bytes read by a step of one token per row: every matrix once, and keys and values of earlier tokens."""
  size = jnp.dtype(config.dtype).itemsize
  weights = forward_flops(config, 1, 0.0) / 2
  cache = 2 * config.layers * config.key_value_heads * config.head_width * attended
  return size * (weights + rows * cache)


def matmul_rate(
  dtype: str = "float32",
  sizes: tuple[tuple[int, int, int], ...] = ((2048, 2048, 2048), (4096, 1024, 1024), (8192, 512, 512)),
) -> float:
  """Best rate of matrix products accumulated in float32, in operations per second, over some large sizes."""
  product = jax.jit(functools.partial(jnp.matmul, preferred_element_type=jnp.float32))
  rates = []
  for m, k, n in sizes:
    a, b = jnp.ones((m, k), dtype), jnp.ones((k, n), dtype)
    rates.append(2.0 * m * k * n / seconds(functools.partial(product, a, b), 5))
  return max(rates)
