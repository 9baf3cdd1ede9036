"""Central differences of NumPy functions: what gradients are compared with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def finite_difference(function: Callable[[np.ndarray], float], x: np.ndarray, step: float = 1e-6) -> np.ndarray:
  """d function / d x in float64, one entry at a time."""
  gradient = np.zeros(x.shape, np.float64)
  for index in np.ndindex(*x.shape):
    delta = np.zeros(x.shape, np.float64)
    delta[index] = step
    gradient[index] = (function(x + delta) - function(x - delta)) / (2 * step)
  return gradient
