"""Intervals of shares and of paired differences over problems. Exact definitions, no dependency but NumPy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np


def wilson(share: float, n: int, level: float = 0.95) -> tuple[float, float]:
  """Wilson's score interval of a share p of n independent answers, inside [0, 1] even for p = 0 and p = 1.

  (p + z^2/2n -+ z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n), z the normal quantile of (1 + level)/2 (Wilson 1927).
  (NaN, NaN) for n = 0.
  """
  if n == 0:
    return math.nan, math.nan
  z = NormalDist().inv_cdf((1 + level) / 2)
  centre = share + z * z / (2 * n)
  half = z * math.sqrt(max(share * (1 - share), 0.0) / n + z * z / (4 * n * n))
  scale = 1 + z * z / n
  return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def bootstrap(values: Sequence[float], level: float = 0.95, resamples: int = 10_000) -> tuple[float, float]:
  """Percentile bootstrap interval of the mean (Efron 1979): quantiles of the means of `resamples` draws of n out of n.

  The draws have a fixed seed: the same values give the same interval. (NaN, NaN) for fewer than two values.
  """
  if len(values) < 2:
    return math.nan, math.nan
  rng, array = np.random.default_rng(0), np.asarray(values, np.float64)
  means = [array[rng.integers(0, array.size, array.size)].mean() for _ in range(resamples)]
  low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
  return float(low), float(high)
