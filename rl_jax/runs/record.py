"""Record of a run, read back for figures, tables and pages."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.files import read_json
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metric_names import TOKENS
from rl_jax.runs.metrics import read_metrics, read_timings
from rl_jax.runs.samples import read_samples


class Series(NamedTuple):
  """One metric over the run. Points in order of iteration."""

  iterations: np.ndarray
  """[N] int64."""
  values: np.ndarray
  """[N, S] float64, a column per seed; NaN where a seed has no number."""


class Record(NamedTuple):
  """Contents of a run's files. `series[kind][name]` are the numbers of a metric ("train", "evaluation", "timings")."""

  name: str
  config: dict[str, Any]
  launches: list[dict[str, Any]]
  series: dict[str, dict[str, Series]]
  samples: list[dict[str, Any]]
  content: str = ""
  """Hash that identifies the run (content.py)."""

  @property
  def iterations_done(self) -> int:
    """Last iteration of any training or evaluation metric; 0 if there is none."""
    lasts = [int(s.iterations[-1]) for kind, group in self.series.items() if kind != "timings" for s in group.values()]
    return max(lasts, default=0)

  @property
  def num_iterations(self) -> int | None:
    """Number of iterations in the config, or None."""
    value = self.config.get("num_iterations")
    return value if isinstance(value, int) else None

  @property
  def num_seeds(self) -> int:
    """Number of seeds: columns of the widest training or evaluation metric; 0 if there is none."""
    widths = [s.values.shape[1] for kind, group in self.series.items() if kind != "timings" for s in group.values()]
    return max(widths, default=0)


def load(directory: RunDirectory) -> Record:
  """Read a run, finished or not. Missing files count as empty.

  Raises:
    UserError: if a file is damaged.
  """
  config = read_json(directory.config) if directory.config.exists() else {}
  return Record(
    name=directory.path.resolve().name,
    config=config if isinstance(config, dict) else {"config": config},
    launches=read_launches(directory.manifest, missing_ok=True),
    series=collect(read_metrics(directory.metrics) + read_timings(directory.timings)),
    samples=read_samples(directory.samples),
    content=content_sha256(directory),
  )


def at(series: Series, iteration: int) -> np.ndarray:
  """Values at or before an iteration, one per seed; 0 before the first."""
  index = np.searchsorted(series.iterations, iteration, side="right") - 1
  return series.values[index] if index >= 0 else np.zeros(series.values.shape[1])


def over_tokens(record: Record) -> Record:
  """Record with generated tokens, averaged over seeds, in place of iterations.

  Raises:
    UserError: the run did not count tokens.
  """
  tokens = record.series.get("train", {}).get(TOKENS)
  if tokens is None:
    raise UserError(f"{record.name} has no {TOKENS} for the axis of its curves: leave out --across=tokens")
  spent = lambda series: np.rint([at(tokens, iteration).mean() for iteration in series.iterations]).astype(np.int64)
  moved = {
    kind: {name: Series(spent(series), series.values) for name, series in group.items()}
    for kind, group in record.series.items()
  }
  return record._replace(series=moved)


def collect(lines: Sequence[dict[str, Any]]) -> dict[str, dict[str, Series]]:
  """Metric lines as series: {kind: {name: Series}}. Values other than a number or a list of numbers are left out.

  If an iteration occurs twice, the later line counts.
  """
  points: dict[str, dict[str, dict[int, list[float]]]] = {}
  for line in lines:
    group = points.setdefault(str(line.get("kind", "train")), {})
    for name, value in line.items():
      numbers = value if isinstance(value, list) else [value]
      if name in ("kind", "iteration") or not numbers or not all(_is_number(item) for item in numbers):
        continue
      group.setdefault(name, {})[line["iteration"]] = [float(item) for item in numbers]
  return {kind: {name: _series(rows) for name, rows in group.items()} for kind, group in points.items() if group}


def _is_number(value: Any) -> bool:
  return isinstance(value, (int, float)) and not isinstance(value, bool)


def _series(rows: dict[int, list[float]]) -> Series:
  width = max(len(row) for row in rows.values())
  iterations = sorted(rows)
  values = [rows[i] + [math.nan] * (width - len(rows[i])) for i in iterations]
  return Series(np.asarray(iterations, np.int64), np.asarray(values, np.float64))
