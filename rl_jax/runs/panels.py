"""Which metrics stand together in one panel of a figure, under which heading and unit."""

from __future__ import annotations

import re
from typing import NamedTuple

from rl_jax.runs.record import Record, Series


class Curve(NamedTuple):
  """One metric in a panel."""

  label: str
  series: Series
  in_ink: bool = False
  """Drawn in the colour of the text: a bound, and no method among others."""


class Panel(NamedTuple):
  """One pair of axes."""

  title: str
  unit: str
  """What the vertical axis counts."""
  curves: list[Curve]
  scale: str = "linear"
  """"linear", "unit" (a share, shown on 0 to 1) or "log"."""
  omitted: int = 0
  """How many further curves did not fit (they are in the table)."""
  across: str = "iteration"
  """What the horizontal axis counts."""
  seeds: str = "lines"
  """"lines": each seed a thin line, and a band of one spread; "band": the band alone; "hidden": neither, for many
  curves."""


class _Rule(NamedTuple):
  title: str
  unit: str
  patterns: tuple[tuple[str, str, str], ...]
  """(kind, regular expression for the whole name, label); {1} in the label is the expression's first group."""
  scale: str = "linear"


_RULES = (
  _Rule(
    "Held-out accuracy",
    "share of prompts",
    (
      ("evaluation", r"held_out/sampled_accuracy", "sampled"),
      ("evaluation", r"held_out/greedy_accuracy", "greedy"),
      ("evaluation", r"held_out/pass_at_(\d+)", "pass@{1}"),
    ),
    "unit",
  ),
  _Rule(
    "Held-out accuracy by level, sampled",
    "share of prompts",
    (("evaluation", r"held_out/([^/]+)/sampled_accuracy", "{1}"),),
    "unit",
  ),
  _Rule(
    "Credit against the truth",
    "agreement, or error",
    (("evaluation", r"credit/(rank_correlation|sign_agreement|trained_steps|unexplained)", "{1}"),),
  ),
  _Rule("Training reward", "mean over samples", (("train", r"reward", "reward"), ("train", r"accuracy", "accuracy"))),
  _Rule(
    "Response length",
    "tokens",
    (("train", r"response_length", "training"), ("evaluation", r"held_out/response_length", "held-out")),
  ),
  _Rule("Entropy of the policy", "nats per token", (("train", r"entropy", "entropy"),)),
  _Rule(
    "Divergence",
    "nats per token",
    (("train", r"kl_to_behaviour", "KL to behaviour"), ("train", r"kl_to_reference", "KL to reference")),
  ),
  _Rule(
    "Rows without a full signal",
    "share",
    (
      ("train", r"truncated", "truncated"),
      ("train", r"zero_spread_rows", "groups of one reward"),
      ("train", r"unscored", "unscored"),
    ),
    "unit",
  ),
  _Rule("Clipped ratios", "share of tokens", (("train", r"clip_fraction", "clip fraction"),)),
  _Rule(
    "Gradient and update",
    "L2 norm",
    (("train", r"gradient_norm", "gradient"), ("train", r"update_norm", "update")),
    "log",
  ),
  _Rule("Loss", "loss", (("train", r"loss/(.+)", "{1}"),)),
  _Rule("Learning rate", "step size", (("train", r"learning_rate", "learning rate"),)),
  _Rule(
    "Speed",
    "tokens per second",
    (
      ("timings", r"tokens_per_second", "iteration"),
      ("timings", r"(?!tokens_per_second)(?:(.+)[/_])tokens_per_second", "{1}"),
    ),
  ),
)

MAX_CURVES = 5
"""Curves in one panel: as many as can be told apart by colour and dash."""


def main_panels(record: Record) -> list[Panel]:
  """The panels with a heading of their own, in reading order; a panel without data is left out."""
  panels = []
  for rule in _RULES:
    curves = [
      Curve(_label(label, match), series)
      for kind, pattern, label in rule.patterns
      for name, series in record.series.get(kind, {}).items()
      if (match := re.fullmatch(pattern, name))
    ]
    if curves:
      panels.append(Panel(rule.title, rule.unit, curves[:MAX_CURVES], rule.scale, max(0, len(curves) - MAX_CURVES)))
  return panels


def other_panels(record: Record) -> list[Panel]:
  """One panel for each metric that no main panel shows, by kind and name."""
  return [
    Panel(name, kind, [Curve(name, series)])
    for kind, group in sorted(record.series.items())
    for name, series in sorted(group.items())
    if name != "wall_clock"
    and not any(re.fullmatch(p, name) for rule in _RULES for k, p, _ in rule.patterns if k == kind)
  ]


def _label(label: str, match: re.Match[str]) -> str:
  return label.replace("{1}", match.group(1)) if match.groups() else label
