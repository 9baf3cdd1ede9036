"""Shared parts of the invariance tests: parametrisation over all kernels, padding, garbage, comparison."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.kernel import IDS, SIZES, is_mask
from tests.kernels.registry import FUNCTIONS, KERNELS, Kernel

B, T = SIZES["B"], SIZES["T"]


def over(select=lambda kernel: True):
  return pytest.mark.parametrize("kernel", [k for k in KERNELS if select(k)], ids=lambda k: k.name)


def over_functions(select=lambda kernel: True):
  """Parametrisation over all kernels, where only the first of several options of a function is not slow."""
  first = {id(kernel) for kernel in FUNCTIONS}
  chosen = filter(select, KERNELS)
  kernels = [pytest.param(kernel, marks=() if id(kernel) in first else pytest.mark.slow) for kernel in chosen]
  return pytest.mark.parametrize("kernel", kernels, ids=lambda k: k.name)


def has_tokens(kernel: Kernel) -> bool:
  return kernel.mask is not None and any("T" in axes for axes in kernel.axes.values())


def has_segments(kernel: Kernel) -> bool:
  return any(is_mask(name) and "S" in axes for name, axes in kernel.axes.items())


def has_rows(kernel: Kernel) -> bool:
  return any("B" in axes for axes in kernel.axes.values())


def pad(kernel, arrays, letter, size, offset):
  """One axis grows to `size` slots around what was there: masks 0 in the new ones, anything in the rest."""
  padded = {}
  for name, array in arrays.items():
    axis = kernel.axes[name].find(letter)
    if axis < 0:
      padded[name] = array
      continue
    fill = 0 if is_mask(name) or array.dtype in (bool, np.int32) else 1e3
    shape = (*array.shape[:axis], size, *array.shape[axis + 1 :])
    padded[name] = np.full(shape, fill, array.dtype)
    padded[name][(slice(None),) * axis + (slice(offset, offset + array.shape[axis]),)] = array
  return padded


def garbage(kernel, arrays):
  """Copies with NaN, inf and large values wherever a mask covers them."""
  spoiled = {}
  for name, array in arrays.items():
    covered = kernel.covered(name, arrays)
    if covered is None or array.dtype == bool:
      spoiled[name] = array
    elif array.dtype == np.int32:
      spoiled[name] = np.where(covered, 987654, array) if name in ("tokens", *IDS) else array
    else:
      values = np.resize(np.array([np.nan, np.inf, -np.inf, 3e38], np.float32), array.shape)
      spoiled[name] = np.where(covered, values, array)
  return spoiled


def assert_close(actual, expected, tolerance=1e-6):
  for a, b in zip(actual, expected, strict=True):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tolerance, atol=tolerance)
