"""Small JSON form of a run, to be committed: one curve per metric with all seeds, and the run's origin."""

from __future__ import annotations

from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import RunDirectory, read_identity
from rl_jax.runs.manifest import first_launch
from rl_jax.runs.metrics import read_metrics, read_timings
from rl_jax.runs.statistics import mean, spread

ORIGIN = (
  "command", "git_commit", "git_clean", "uncommitted_sha256", "cpu_model", "cpu_features_sha256", "cpu_threads_allowed",
  "devices", "python", "packages", "flags", "settings", "method_sha256", "data_fingerprint", "papers", "start_sha256",
)  # fmt: skip
"""Fields of the manifest about the origin of the numbers."""


def curve(directory: RunDirectory, names: list[str]) -> dict[str, Any]:
  """Curves of metrics: name to {"iterations", "mean", "spread", "seeds"}, lists by iteration; "seeds" has one per seed.

  Also the run's identity and content hash, its first launch (see `ORIGIN`) and the seconds of its iterations, without
  compilation.

  Raises:
    UserError: the run has no metric of one of the names.
  """
  lines = read_metrics(directory.metrics)
  curves = {}
  for name in names:
    points = [(line["iteration"], line[name]) for line in lines if name in line]
    if not points:
      metric_names = ", ".join(sorted({key for line in lines for key in line} - {"kind", "iteration"})) or "none"
      raise UserError(f"{directory.path} has no metric {name!r} (there are: {metric_names})")
    curves[name] = {
      "iterations": [iteration for iteration, _ in points],
      "mean": [round(mean(values), 4) for _, values in points],
      "spread": [round(spread(values), 4) for _, values in points],
      "seeds": [[rounded(value) for value in values] for _, values in points],
    }
  seconds = sum(line["seconds"] for line in read_timings(directory.timings))
  launch = first_launch(directory.manifest)
  return {
    "identity": read_identity(directory),
    "content_sha256": content_sha256(directory),
    **{name: launch.get(name) for name in ORIGIN},
    "seconds": round(seconds, 1),
    "curves": curves,
  }


def rounded(value: float) -> float:
  """Number of a committed curve, to four decimal places."""
  return round(float(value), 4)
