"""Rewards that depend on the length of a response."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from kernels.reductions import widen


def overlong_penalty(
  lengths: Num[Array, " B"], *, max_length: int = 20480, buffer: int = 4096, factor: float = 1.0, floor: bool = True
) -> Float[Array, " B"]:
  """0 up to L_max - L_c tokens, then -factor (|o| - (L_max - L_c)) / L_c, and -factor beyond L_max.

  DAPO, arXiv 2503.14476, equation 13. Added to the reward before the advantage is taken. `floor` False leaves the
  slope unbounded beyond L_max, as in verl.

  >>> print(overlong_penalty(jnp.array([151, 175, 200, 260]), max_length=200, buffer=50))
  [-0.02 -0.5  -1.   -1.  ]
  """
  if not 0 < buffer <= max_length:
    raise ValueError(f"overlong_penalty: expected 0 < buffer <= max_length, got {buffer} and {max_length}")
  excess = jnp.maximum((widen(lengths) - (max_length - buffer)) / buffer, 0)
  return -factor * (jnp.minimum(excess, 1) if floor else excess)
