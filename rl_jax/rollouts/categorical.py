"""Choice of one token per row, by inverting the distribution function or as the most likely token."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

BLOCK = 256
"""Number of tokens per block: cumulative sums over a full vocabulary are slow, sums over blocks are fast."""


def draw(scores: Float[Array, "B V"], keys: PRNGKeyArray) -> Int[Array, " B"]:
  """Token of each row, drawn with probability softmax(scores) from two uniform numbers of the row's key.

  The first number picks a block of tokens by the masses of blocks, the second a token in it: the first i with w_1 + ...
  + w_i > u (w_1 + ... + w_n). Drawing a Gumbel number for each of 49152 tokens took half as long as a model of 135M
  parameters on CPU. A score of -inf is never drawn.

  Args:
    keys: [B], one per row; a row's token depends on its own scores and key alone.
  """
  weights = jnp.exp(scores - scores.max(axis=-1, keepdims=True))
  blocks = _blocks(weights, 0.0)
  uniform = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys)
  block = _invert(blocks.sum(axis=-1), uniform[:, 0])
  return block * blocks.shape[-1] + _invert(_of_block(blocks, block), uniform[:, 1])


def argmax(scores: Float[Array, "B V"]) -> Int[Array, " B"]:
  """First of the tokens with the highest score."""
  blocks = _blocks(scores, -jnp.inf)
  block = jnp.argmax(blocks.max(axis=-1), axis=-1)
  return block * blocks.shape[-1] + jnp.argmax(_of_block(blocks, block), axis=-1)


def _blocks(x: Float[Array, "B V"], fill: float) -> Float[Array, "B N C"]:
  rows, words = x.shape
  size = min(BLOCK, words)
  return jnp.pad(x, [(0, 0), (0, -words % size)], constant_values=fill).reshape(rows, -1, size)


def _of_block(blocks: Float[Array, "B N C"], block: Int[Array, " B"]) -> Float[Array, "B C"]:
  return jnp.take_along_axis(blocks, block[:, None, None], axis=1)[:, 0]


def _invert(weights: Float[Array, "B n"], uniform: Float[Array, " B"]) -> Int[Array, " B"]:
  """First i whose cumulative weight exceeds the share `uniform` in [0, 1) of the total; its weight is above 0."""
  # Rounding may change a cumulative sum at a weight of 0, so these are excluded before the maximum is taken.
  reached = jnp.where(weights > 0, jnp.cumsum(weights, axis=-1), 0.0)
  return jnp.argmax(reached > uniform[:, None] * reached.max(axis=-1, keepdims=True), axis=-1)
