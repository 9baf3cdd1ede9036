"""Frequencies of rotary positions by hand; whole models with them are in test_huggingface.py."""

from __future__ import annotations

import math

import numpy as np

from rl_jax.models.rope import frequencies


def test_linear_scaling_divides_every_frequency():
  np.testing.assert_allclose(frequencies(6, 1000.0, scaling="linear", factor=4.0), [1 / 4, 1 / 40, 1 / 400], rtol=1e-6)


def test_llama3_scaling_pair_by_pair():
  """Written as in Llama 3.1's own code: by wavelength."""
  base, half, factor, low, high, context = 10_000.0, 16, 4.0, 1.0, 4.0, 500
  want = []
  for i in range(half):
    plain = base ** (-i / half)
    wavelength = 2 * math.pi / plain
    if wavelength < context / high:
      want.append(plain)
    elif wavelength > context / low:
      want.append(plain / factor)
    else:
      smooth = (context / wavelength - low) / (high - low)
      want.append((1 - smooth) * plain / factor + smooth * plain)
  got = frequencies(
    2 * half, base, scaling="llama3", factor=factor, low_frequency=low, high_frequency=high, context=context
  )
  np.testing.assert_allclose(got, want, rtol=1e-6)
  kept = np.isclose(got, frequencies(2 * half, base), rtol=1e-6)
  assert kept.any() and not kept.all() and np.isclose(got[-1] * factor, base ** (-15 / 16), rtol=1e-6)
