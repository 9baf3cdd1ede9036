"""Numbers over seeds: mean, spread, interval. Exact definitions, no dependency.

One seed is one independent run of the whole experiment; statistics are always over seeds, never over iterations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

FEWEST_FOR_T = 3
"""Number of seeds from which pages show Student's t interval. For two it would reach 12.7 standard errors to either
side, less informative than the two values."""


class Summary(NamedTuple):
  """A metric over seeds. NaN where a number is undefined."""

  mean: float
  spread: float
  low: float
  high: float
  num_seeds: int


def mean(values: Sequence[float]) -> float:
  """sum(x) / n, summed exactly. NaN for no values; one NaN among the values makes the mean NaN."""
  if not values or not all(math.isfinite(value) for value in values):
    return sum(values) / len(values) if values else math.nan
  return math.fsum(values) / len(values)


def spread(values: Sequence[float]) -> float:
  """Sample standard deviation sqrt(sum((x - mean)^2) / (n - 1)). NaN for fewer than two values."""
  if len(values) < 2:
    return math.nan
  centre = mean(values)
  if not math.isfinite(centre):
    return math.nan
  return math.sqrt(math.fsum((value - centre) ** 2 for value in values) / (len(values) - 1))


def interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float]:
  """Student's t interval of the mean: mean -+ t_{n-1}((1 + level) / 2) * spread / sqrt(n).

  It covers the true mean with probability `level` if seeds are independent and normal; it is not cut to [0, 1].
  (NaN, NaN) for fewer than two values.
  """
  if len(values) < 2:
    return math.nan, math.nan
  half = t_quantile((1 + level) / 2, len(values) - 1) * spread(values) / math.sqrt(len(values))
  return mean(values) - half, mean(values) + half


def difference_interval(left: Sequence[float], right: Sequence[float], level: float = 0.95) -> tuple[float, float]:
  """Student's t interval of mean(left) - mean(right) of independent seeds with separate spreads:
  -+ t sqrt(s_l^2 / n_l + s_r^2 / n_r), t with min(n_l, n_r) - 1 degrees of freedom, so at least as wide as Welch's.

  (NaN, NaN) where one of them has fewer than two values.
  """
  fewest = min(len(left), len(right))
  if fewest < 2:
    return math.nan, math.nan
  error = math.sqrt(spread(left) ** 2 / len(left) + spread(right) ** 2 / len(right))
  half = t_quantile((1 + level) / 2, fewest - 1) * error
  return mean(left) - mean(right) - half, mean(left) - mean(right) + half


def summary(values: Sequence[float], level: float = 0.95) -> Summary:
  """Mean, spread and interval of one number per seed."""
  low, high = interval(values, level)
  return Summary(mean(values), spread(values), low, high, len(values))


def t_quantile(probability: float, degrees: int) -> float:
  """The t with P(T <= t) = probability for Student's T with a whole number of degrees of freedom, by bisection.

  Raises:
    ValueError: unless 0 < probability < 1 and degrees >= 1.
  """
  if not 0 < probability < 1 or degrees < 1:
    raise ValueError(f"need 0 < probability < 1 and degrees >= 1, got {probability} and {degrees}")
  if probability < 0.5:
    return -t_quantile(1 - probability, degrees)
  # In the angle atan(t / sqrt(degrees)) the distribution has bounded support, so any probability is bracketed.
  low, high = 0.0, math.pi / 2
  for _ in range(200):
    middle = (low + high) / 2
    if 0.5 + _central_probability(middle, degrees) / 2 < probability:
      low = middle
    else:
      high = middle
  return math.tan(low) * math.sqrt(degrees)


def _central_probability(angle: float, degrees: int) -> float:
  """P(|T| < tan(angle) sqrt(degrees)): Abramowitz and Stegun, 26.7.3 (odd) and 26.7.4 (even)."""
  sine, cosine = math.sin(angle), math.cos(angle)
  odd = degrees % 2
  term = cosine if odd else 1.0
  total = 0.0
  # The series starts at cos(angle) (odd) or 1 (even) and has (degrees - odd) / 2 terms.
  for k in range(1, (degrees - odd) // 2 + 1):
    total += term
    term *= cosine * cosine * ((2 * k) / (2 * k + 1) if odd else (2 * k - 1) / (2 * k))
  return 2 / math.pi * (angle + sine * total) if odd else sine * total
