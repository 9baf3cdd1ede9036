"""Panels of figures: their metrics, headings and units, for one or several runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rl_jax.runs.formatting import number
from rl_jax.runs.metric_names import is_shown
from rl_jax.runs.record import Record, Series
from rl_jax.runs.statistics import mean

ITERATIONS, TOKENS = "iteration", "generated tokens per seed"
"""Units of the horizontal axis."""


class Curve(NamedTuple):
  """One metric in a panel."""

  label: str
  """Label; "" if the panel's title says it."""
  series: Series
  in_ink: bool = False
  """True to draw in the colour of text, for a bound that is not one of the methods."""
  style: int | None = None
  """Index of its colour and dash, counted separately for curves in ink; None: by its place in the panel."""


class Panel(NamedTuple):
  """One pair of axes."""

  title: str
  unit: str
  """Unit of the vertical axis."""
  curves: list[Curve]
  scale: str = "linear"
  """"linear", "zero" (begins at 0), "unit" (a share, shown on 0 to 1) or "log"."""
  omitted: int = 0
  """Number of further curves that did not fit (they are in the table)."""
  across: str = ITERATIONS
  """Unit of the horizontal axis."""
  seeds: str = "lines"
  """"lines": a thin line per seed and a band of one spread; "band": only the band; "hidden": neither, for many
  curves."""
  resolution: float = 0.0
  """Smallest meaningful difference, in the panel's unit."""


class _Rule(NamedTuple):
  title: str
  unit: str
  patterns: tuple[tuple[str, str, str], ...]
  """(kind, regular expression for the whole name, label); {1} in the label is the expression's first group."""
  scale: str = "linear"
  resolution: float = 0.0


_PIXEL = 0.005
"""Fraction of an axis from 0 to 1, about the height of a line."""
_ROUNDING = 1e-6
"""Rounding error of float32 in a mean of numbers near 1 whose exact value is 0."""

_RULES = (
  _Rule(
    "Held-out accuracy",
    "share of answers",
    (
      ("evaluation", r"held_out/sampled_accuracy", "sampled"),
      ("evaluation", r"held_out/greedy_accuracy", "greedy"),
    ),
    "unit",
    _PIXEL,
  ),
  _Rule(
    "Held-out pass@k",
    "share of prompts",
    (("evaluation", r"held_out/pass_at_(\d+)", "pass@{1}"),),
    "unit",
    _PIXEL,
  ),
  _Rule(
    "Held-out accuracy by level, sampled",
    "share of answers",
    (("evaluation", r"held_out/([^/]+)/sampled_accuracy", "{1}"),),
    "unit",
    _PIXEL,
  ),
  _Rule(
    "Credit against the truth",
    "agreement, or error",
    (("evaluation", r"credit/(rank_correlation|sign_agreement|trained_steps|unexplained)", "{1}"),),
  ),
  _Rule("Training reward", "mean over answers", (("train", r"reward", "reward"), ("train", r"accuracy", "accuracy"))),
  _Rule(
    "Response length",
    "tokens",
    (("train", r"response_length", "training"), ("evaluation", r"held_out/response_length", "held-out")),
  ),
  _Rule("Entropy of the policy", "nats per token", (("train", r"entropy", ""),)),
  _Rule(
    "Divergence from the reference",
    "nats per token",
    (("train", r"kl_to_reference", "KL(policy || reference)"),),
    "zero",
    _ROUNDING,
  ),
  _Rule(
    "Divergence of sampler and trainer",
    "nats per token",
    (("train", r"kl_to_behaviour", "KL(sampler || trainer)"),),
    "zero",
    _ROUNDING,
  ),
  _Rule(
    "Rows without a full signal",
    "share of rows",
    (
      ("train", r"truncated", "truncated"),
      ("train", r"zero_spread_rows", "groups of equal reward"),
      ("train", r"unscored", "unscored"),
    ),
    "unit",
    _PIXEL,
  ),
  _Rule("Clipped ratios", "share of tokens", (("train", r"clip_fraction", ""),), "zero", 1e-4),
  _Rule(
    "Gradient and update",
    "L2 norm",
    (("train", r"gradient_norm", "gradient"), ("train", r"update_norm", "update")),
    "log",
  ),
  _Rule("Loss", "loss", (("train", r"loss/(.+)", "{1}"),), resolution=_ROUNDING),
  _Rule("Learning rate", "step size", (("train", r"learning_rate", ""),), "zero"),
  _Rule("Speed", "tokens per second, all seeds", (("timings", r"tokens_per_second", ""),), "zero"),
)

MAX_CURVES = 5
"""Largest number of curves in a panel, distinguishable by colour and dash."""
_VISIBLE = 1e-3
"""Smallest relative change of a curve that is not constant."""


def main_panels(record: Record, across: str = ITERATIONS) -> list[Panel]:
  """Main panels in reading order, without panels that have no data."""
  panels = []
  for rule in _RULES:
    curves = [Curve(label, series["run"]) for label, series in _metrics(rule, {"run": record}).items()]
    if curves:
      omitted = max(0, len(curves) - MAX_CURVES)
      panels.append(
        Panel(rule.title, rule.unit, curves[:MAX_CURVES], rule.scale, omitted, across, resolution=rule.resolution)
      )
  return panels


def compared_panels(records: Mapping[str, Record], across: str = ITERATIONS) -> list[Panel]:
  """One panel per metric of the main panels, with a curve for each run that has the metric."""
  styles = {name: index for index, name in enumerate(records)}
  return [
    Panel(
      f"{rule.title}: {label}" if label else rule.title,
      rule.unit,
      [Curve(name, series, style=styles[name]) for name, series in by_run.items()],
      rule.scale,
      across=across,
      seeds="band",
      resolution=rule.resolution,
    )
    for rule in _RULES
    for label, by_run in _metrics(rule, records).items()
  ]


def other_panels(record: Record, across: str = ITERATIONS) -> list[Panel]:
  """One panel for each metric that no main panel shows, by kind and name."""
  return [
    Panel(name, kind, [Curve("", series)], across=across)
    for kind, group in sorted(record.series.items())
    for name, series in sorted(group.items())
    if is_shown(name) and not any(re.fullmatch(p, name) for rule in _RULES for k, p, _ in rule.patterns if k == kind)
  ]


def is_constant(panel: Panel) -> bool:
  """Return whether no curve of a panel changes visibly, in any seed."""
  for curve in panel.curves:
    values = np.where(np.isfinite(curve.series.values), curve.series.values, np.nan)
    values = values[:, np.isfinite(values).any(axis=0)]
    if not values.size:
      return False  # nothing is finite, which the panel states
    change = np.nanmax(values, axis=0) - np.nanmin(values, axis=0)
    if (change > max(panel.resolution, _VISIBLE * np.nanmax(np.abs(values)))).any():
      return False
  return True


def constant_text(panel: Panel) -> str:
  """A constant panel in words: "Clipped ratios 0", "Loss: policy 0, value 0.25", means over seeds."""
  constants = [(curve.label, _constant(curve.series.values)) for curve in panel.curves]
  if [label for label, _ in constants] == [""]:
    return f"{panel.title} {constants[0][1]}"
  return f"{panel.title}: {', '.join(f'{label} {value}' for label, value in constants)}"


def _constant(values: np.ndarray) -> str:
  """The last finite value, averaged over the seeds that have one there, and the number of points without one."""
  finite = np.isfinite(values)
  points = np.flatnonzero(finite.any(axis=1))
  last = values[points[-1]][finite[points[-1]]]
  without = f" (none in {len(values) - len(points)} of {len(values)})" if len(points) < len(values) else ""
  return number(mean(last.tolist())) + without


def _metrics(rule: _Rule, records: Mapping[str, Record]) -> dict[str, dict[str, Series]]:
  """Numbers by label and run; metrics that are equal in all runs are joined, as "reward = accuracy"."""
  by_label: dict[str, dict[str, Series]] = {}
  for kind, pattern, label in rule.patterns:
    for run, record in records.items():
      for name, series in record.series.get(kind, {}).items():
        if match := re.fullmatch(pattern, name):
          by_label.setdefault(_label(label, match), {})[run] = series
  joined: list[tuple[list[str], dict[str, Series]]] = []
  for label, by_run in by_label.items():
    same = next((labels for labels, others in joined if _equal(by_run, others)), None)
    if same is None:
      joined.append(([label], by_run))
    else:
      same.append(label)
  return {" = ".join(labels): by_run for labels, by_run in joined}


def _equal(left: Mapping[str, Series], right: Mapping[str, Series]) -> bool:
  if left.keys() != right.keys():
    return False
  pairs: Sequence[tuple[Series, Series]] = [(left[run], right[run]) for run in left]
  return all(
    a.values.shape == b.values.shape
    and np.array_equal(a.iterations, b.iterations)
    and np.allclose(a.values, b.values, rtol=1e-6, atol=0.0, equal_nan=True)
    for a, b in pairs
  )


def _label(label: str, match: re.Match[str]) -> str:
  return label.replace("{1}", match.group(1)) if match.groups() else label
