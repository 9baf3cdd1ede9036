"""Methods compared over seeds: interquartile means, bootstrap intervals, verdicts (Agarwal et al. 2021, 2108.13264).

Seeds that share a start are not independent, and neither are answers to the same problems. With several starts and
results by blocks of problems, an interval therefore covers starts, seeds and blocks. A resample draws starts, then
seeds of each start, then blocks of problems, which all seeds and both sides of a comparison share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 10_000
FEWEST_SEEDS = 5
"""Smallest number of seeds for which a bootstrap over seeds is meaningful."""


Results = Sequence[float] | np.ndarray
"""One number per seed [S], or per seed and block of problems [S, K]."""

Starts = int | np.ndarray
"""Number of starts that seeds take in turn (seed s has start s mod that number), or the start of each seed [S]."""


class Estimate(NamedTuple):
  """A number with its interval."""

  value: float
  low: float
  high: float


def interquartile_mean(values: np.ndarray) -> np.ndarray:
  """Mean over the last axis without the floor(n / 4) lowest and highest of n values (rliable's IQM). NaN if any value
  is NaN, which would otherwise be cut off as the highest."""
  cut = values.shape[-1] // 4
  mean = np.sort(values, axis=-1)[..., cut : values.shape[-1] - cut].mean(axis=-1)
  return np.where(np.isnan(values).any(axis=-1), np.nan, mean)


def estimate(values: Results, starts: Starts = 1, level: float = 0.95) -> Estimate:
  """Interquartile mean over seeds, with percentiles over resampled starts, seeds and blocks."""
  by_block = _by_block(values)
  return _estimate(interquartile_mean(by_block.mean(axis=1)), _resampled(by_block, 0, starts), level)


def difference(left: Sequence[float], right: Sequence[float]) -> Estimate:
  """IQM(left) - IQM(right), with the seeds of each resampled separately."""
  a, b = _by_block(left), _by_block(right)
  value = interquartile_mean(a.mean(axis=1)) - interquartile_mean(b.mean(axis=1))
  return _estimate(value, _resampled(a, 0, 1) - _resampled(b, 1, 1), 0.95)


def _by_block(values: Results) -> np.ndarray:
  """Results as [S, K], with a single block if there are no blocks."""
  array = np.asarray(values, np.float64)
  return array if array.ndim == 2 else array[:, None]


def _resampled(by_block: np.ndarray, stream: int, starts: Starts) -> np.ndarray:
  """Interquartile means of resamples, [RESAMPLES]."""
  (members, blocks), rng = by_block.shape, np.random.default_rng([20211101, stream])
  drawn_seeds = _drawn_seeds(rng, members, starts)
  if blocks == 1:
    return interquartile_mean(by_block[drawn_seeds, 0])
  drawn_blocks = rng.integers(0, blocks, (RESAMPLES, blocks))
  weights = np.apply_along_axis(np.bincount, 1, drawn_blocks, minlength=blocks) / blocks
  return interquartile_mean(np.take_along_axis(weights @ by_block.T, drawn_seeds, axis=1))


def _drawn_seeds(rng: np.random.Generator, members: int, starts: Starts) -> np.ndarray:
  """Indices [RESAMPLES, M] of seeds, drawn with replacement within starts drawn with replacement.

  M is the number of seeds, or that of the start with most of them, for each start.
  """
  if isinstance(starts, np.ndarray):
    _, counts = np.unique(starts, return_counts=True)
    drawn = np.repeat(rng.integers(0, len(counts), (RESAMPLES, len(counts))), counts.max(), axis=1)
    first = np.cumsum(counts) - counts
    return np.argsort(starts, kind="stable")[first[drawn] + rng.integers(0, counts[drawn])]
  if starts == 1:
    return rng.integers(0, members, (RESAMPLES, members))
  drawn_starts = np.repeat(rng.integers(0, starts, (RESAMPLES, starts)), members // starts, axis=1)
  return drawn_starts + starts * rng.integers(0, members // starts, (RESAMPLES, members))


def _estimate(value: np.ndarray, resampled: np.ndarray, level: float) -> Estimate:
  tail = 50 * (1 - level)
  low, high = np.percentile(resampled, [tail, 100 - tail])
  return Estimate(float(value), float(low), float(high))


def verdict(difference: Estimate, *, above: bool = True) -> str:
  """Verdict on the claim that a difference is above (or below) 0, by its interval.

  "holds" and "does not hold" (the opposite is true) require an interval without 0; otherwise it is "undecided".
  """
  low, high = (difference.low, difference.high) if above else (-difference.high, -difference.low)
  return "holds" if low > 0 else "does not hold" if high < 0 else "undecided"


def paired_difference(left: Results, right: Results, starts: Starts = 1, level: float = 0.95) -> Estimate:
  """IQM(left - right) of runs with the same seeds, starts and problems; the paired differences are resampled."""
  a, b = _by_block(left), _by_block(right)
  if a.shape != b.shape:
    raise ValueError(f"results have shapes {a.shape} and {b.shape}: want the same seeds and blocks in both")
  return estimate(a - b, starts, level)


def paired_ratio(left: Results, right: Results, starts: Starts = 1) -> Estimate:
  """IQM(left) / IQM(right) of results of the same seeds, which are resampled together."""
  a, b = _by_block(left), _by_block(right)
  value = interquartile_mean(a.mean(axis=1)) / interquartile_mean(b.mean(axis=1))
  return _estimate(value, _resampled(a, 0, starts) / _resampled(b, 0, starts), 0.95)


def area_under(
  across: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, end: float | None = None
) -> float:
  """Mean height of a curve from its first point to `end` (by default its last), with linear interpolation."""
  x, y = np.asarray(across, np.float64), np.asarray(values, np.float64)
  if end is not None:
    last = np.interp(end, x, y)
    x, y = np.append(x[x < end], end), np.append(y[x < end], last)
  return float(np.sum((y[1:] + y[:-1]) / 2 * np.diff(x)) / (x[-1] - x[0]))


def at_tokens(tokens: Sequence[float] | np.ndarray, values: Sequence[float] | np.ndarray, budget: float) -> float:
  """Value after `budget` generated tokens, interpolated linearly between measurements."""
  return float(np.interp(budget, np.asarray(tokens, np.float64), np.asarray(values, np.float64)))
