"""Rotary position embedding: frequencies and rotation."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SCALINGS = ("none", "linear", "llama3")


def frequencies(
  head_width: int,
  base: float,
  *,
  scaling: str = "none",
  factor: float = 8.0,
  low_frequency: float = 1.0,
  high_frequency: float = 4.0,
  context: int = 8192,
) -> Float[Array, " half"]:
  """Radians per position of each channel pair: base^(-i / half) (RoFormer, arXiv 2104.09864, section 3.2.2).

  The scaling "linear" slows down all pairs by `factor` (arXiv 2306.15595, eq. 4). "llama3" (Llama 3.1's, arXiv
  2407.21783, section 3.4.2) slows down slow pairs, for contexts longer than the `context` tokens of the first training.
  Pairs with fewer than `low_frequency` turns in it are slowed by `factor`, pairs with more than `high_frequency` turns
  not at all, and those in between by a share that is linear in their turns.
  """
  half = head_width // 2
  plain = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  if scaling == "none":
    return plain
  if scaling == "linear":
    return plain / factor
  turns = context * plain / (2 * math.pi)
  weight = jnp.clip((turns - low_frequency) / (high_frequency - low_frequency), 0.0, 1.0)
  return weight * plain + (1 - weight) * plain / factor


class Rotation(NamedTuple):
  """Cosine of each pair's angle, and the signed sine that multiplies the other channel of the pair."""

  cos: Float[Array, "B T 1 2 half"]
  sin: Float[Array, "B T 1 2 half"]


def rotation(positions: Int[Array, "B T"], frequencies: Float[Array, " half"]) -> Rotation:
  """Rotation by position * frequency, the same for all heads and layers."""
  angles = positions[..., None, None, None].astype(jnp.float32) * frequencies
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  # XLA on CPU would compute both anew for every head of every layer, a tenth of a decoded token, and drops barriers
  # against that; a concatenation it keeps.
  return Rotation(jnp.concatenate([cos, cos], axis=-2), jnp.concatenate([-sin, sin], axis=-2))


def rotate(x: Float[Array, "B T H Dh"], rotation: Rotation) -> Float[Array, "B T H Dh"]:
  """Rotary position embedding (arXiv 2104.09864, eq. 34) on half-split channels.

  (a, b) cos + (b, a) (-sin, sin): exchanging halves is pure indexing, whereas a concatenation of two results branches
  at every channel, which XLA on CPU does not vectorise.
  """
  halves = x.reshape(*x.shape[:-1], 2, -1).astype(jnp.float32)
  turned = halves * rotation.cos + halves[..., ::-1, :] * rotation.sin
  return turned.reshape(x.shape).astype(x.dtype)
