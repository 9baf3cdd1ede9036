"""Methods compared over seeds: interquartile means, bootstrap intervals, verdicts (Agarwal et al. 2021, 2108.13264)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
FEWEST_SEEDS = 5
"""Below that a bootstrap over seeds says nothing."""


class Estimate(NamedTuple):
  """A number with its 95 % interval."""

  value: float
  low: float
  high: float


def interquartile_mean(values: np.ndarray) -> np.ndarray:
  """Mean over the last axis without the floor(n / 4) lowest and highest of n values (rliable's IQM); NaN where one of
  them is NaN, which would else be cut off as the highest."""
  cut = values.shape[-1] // 4
  mean = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
  return np.where(np.isnan(values).any(axis=-1), np.nan, mean)


def estimate(values: Sequence[float]) -> Estimate:
  """The interquartile mean over seeds, and the 2.5 and 97.5 percentiles of it over resampled seeds."""
  seeds = np.asarray(values, np.float64)
  return _estimate(interquartile_mean(seeds), _resampled(seeds, 0))


def difference(left: Sequence[float], right: Sequence[float]) -> Estimate:
  """IQM(left) - IQM(right), the seeds of each resampled on their own."""
  a, b = np.asarray(left, np.float64), np.asarray(right, np.float64)
  return _estimate(interquartile_mean(a) - interquartile_mean(b), _resampled(a, 0) - _resampled(b, 1))


def _resampled(seeds: np.ndarray, stream: int) -> np.ndarray:
  rng = np.random.default_rng([20211101, stream])
  return interquartile_mean(seeds[rng.integers(0, len(seeds), (RESAMPLES, len(seeds)))])


def _estimate(value: np.ndarray, resampled: np.ndarray) -> Estimate:
  low, high = np.percentile(resampled, [2.5, 97.5])
  return Estimate(float(value), float(low), float(high))


def verdict(difference: Estimate, *, above: bool = True) -> str:
  """What an interval of a difference says of the claim that it is above (or below) 0.

  "holds" and "does not hold" (the opposite is true) want an interval without 0; else it is "undecided".
  """
  low, high = (difference.low, difference.high) if above else (-difference.high, -difference.low)
  return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"


def paired_difference(left: Sequence[float], right: Sequence[float]) -> Estimate:
  """IQM(left - right) of runs with the same seeds and starts, seed by seed, whose differences are resampled."""
  return estimate([a - b for a, b in zip(left, right, strict=True)])


def paired_ratio(left: Sequence[float], right: Sequence[float]) -> Estimate:
  """IQM(left) / IQM(right) of differences of the same seeds, which are resampled together."""
  pairs = np.stack([np.asarray(left, np.float64), np.asarray(right, np.float64)])
  rng = np.random.default_rng([20211101, 0])
  resampled = interquartile_mean(pairs[:, rng.integers(0, pairs.shape[1], (RESAMPLES, pairs.shape[1]))])
  value = interquartile_mean(pairs)
  return _estimate(value[0] / value[1], resampled[0] / resampled[1])


def area_under(
  across: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, end: float | None = None
) -> float:
  """Mean height of a curve between its first point and `end`, its last by default, on straight lines between points."""
  x, y = np.asarray(across, np.float64), np.asarray(values, np.float64)
  if end is not None:
    last = np.interp(end, x, y)
    x, y = np.append(x[x < end], end), np.append(y[x < end], last)
  return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / (x[-1] - x[0]))


def at_tokens(tokens: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, budget: float) -> float:
  """The value when `budget` tokens were generated, on the straight line between the measurements around it."""
  return float(np.interp(budget, np.asarray(tokens, np.float64), np.asarray(values, np.float64)))
