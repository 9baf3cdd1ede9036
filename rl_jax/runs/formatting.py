"""Formats of numbers and durations, shared by terminal, figures and pages."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rl_jax.runs.statistics import mean, spread


def number(value: float) -> str:
  """About three digits: "0.714", "12.3", "1,234", "3.00e-04"; a whole number stays whole: "7"."""
  if isinstance(value, int) or (math.isfinite(value) and value == int(value) and abs(value) < 1e12):
    return f"{int(value):,}"
  if not math.isfinite(value):
    return "NaN" if value != value else ("inf" if value > 0 else "-inf")
  size = abs(value)
  if size < 1e-3 or size >= 1e6:
    return f"{value:.2e}"
  return f"{value:.3f}" if size < 10 else f"{value:.1f}" if size < 1000 else f"{value:,.0f}"


def mean_and_spread(values: Sequence[float], digits: int | None = None) -> str:
  """ "0.71 ±0.03" for several seeds, "0.71" for one, "NaN" if a seed has no number; with `digits` decimal places, or as
  many as `number` gives."""
  write = number if digits is None else (lambda value: f"{value:.{digits}f}")
  centre = mean(values)
  if centre != centre:
    return "NaN"
  return f"{write(centre)} ±{write(spread(values))}" if len(values) > 1 else write(centre)


def duration(seconds: float) -> str:
  """ "42s", "1m12s", "3h05m", "2d04h"."""
  total = max(0, round(seconds))
  if total < 60:
    return f"{total}s"
  minutes, rest = divmod(total, 60)
  if minutes < 60:
    return f"{minutes}m{rest:02d}s"
  hours, minutes = divmod(minutes, 60)
  if hours < 24:
    return f"{hours}h{minutes:02d}m"
  return f"{hours // 24}d{hours % 24:02d}h"


def rate(per_second: float) -> str:
  """ "950", "48.2k", "1.3M"."""
  for limit, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
    if per_second >= limit:
      return f"{per_second / limit:.1f}{unit}"
  return f"{per_second:.0f}"


def tick(value: float, largest: float) -> str:
  """`value` on an axis that reaches `largest`, which sets the unit of all ticks: "8k" before "14k", "0.5e-4" before
  "1e-4"."""
  if value == 0:
    return "0"
  for limit, size, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
    if largest >= limit:
      return f"{value / size:.6g}{unit}"
  if 0 < largest < 1e-3:
    power = math.floor(math.log10(largest))
    return f"{value / 10**power:.3g}e{power}"
  return f"{value:.6g}"
