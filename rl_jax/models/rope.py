"""Rotary positions: how fast each pair of channels turns, and the turning."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

SCALINGS = ("none", "llama3")


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

  The scaling "llama3" (Llama 3.1's, arXiv 2407.21783, section 3.4.2) makes slow pairs slower, for contexts longer than
  the `context` tokens of the first training: pairs that turn fewer than `low_frequency` times in it by `factor`, those
  above `high_frequency` turns not at all, and those between by a share that is linear in their turns.
  """
  half = head_width // 2
  plain = base ** (-jnp.arange(half, dtype=jnp.float32) / half)
  if scaling == "none":
    return plain
  turns = context * plain / (2 * math.pi)
  weight = jnp.clip((turns - low_frequency) / (high_frequency - low_frequency), 0.0, 1.0)
  return weight * plain + (1 - weight) * plain / factor


def rotate(
  x: Float[Array, "B T H Dh"], positions: Int[Array, "B T"], frequencies: Float[Array, " half"]
) -> Float[Array, "B T H Dh"]:
  """Rotary position embedding (arXiv 2104.09864, eq. 34) on half-split channels."""
  half = x.shape[-1] // 2
  angles = positions[..., None, None].astype(jnp.float32) * frequencies
  cos, sin = jnp.cos(angles), jnp.sin(angles)
  a, b = x[..., :half].astype(jnp.float32), x[..., half:].astype(jnp.float32)
  return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
