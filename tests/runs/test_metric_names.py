"""Names of metrics: those that figures look for exist."""

from __future__ import annotations

import re

import pytest

from rl_jax.runs import final_numbers, panels, progress
from rl_jax.runs.metric_names import ACCURACY, BY_KIND, find


def example(name: str) -> str:
  return re.sub(r"<\w+>", "2", name)


@pytest.mark.parametrize(
  ("kind", "name", "known"),
  [
    ("train", "reward", "reward"), ("train", "reward/easy", "reward/<level>"), ("train", "reward/", None),
    ("evaluation", ACCURACY, ACCURACY), ("evaluation", "held_out/pass_at_4", "held_out/pass_at_<k>"),
    ("evaluation", "held_out/a/b/sampled_accuracy", "held_out/<level>/sampled_accuracy"), ("train", "critic", None),
  ],
)  # fmt: skip
def test_a_name_is_found(kind, name, known):
  metric = find(kind, name)
  assert (metric and metric.name) == known


def test_no_name_is_there_twice_or_without_a_meaning():
  metrics = [metric for kind in BY_KIND.values() for metric in kind]
  assert len({metric.name for metric in metrics}) == len(metrics) and all(m.unit and m.meaning for m in metrics)


@pytest.mark.parametrize("rule", panels._RULES, ids=lambda rule: rule.title)
def test_every_curve_of_a_figure_has_a_metric(rule):
  """A misspelt pattern would be a curve that is never drawn."""
  for kind, pattern, _ in rule.patterns:
    if kind != "timings":
      assert any(re.fullmatch(pattern, example(metric.name)) for metric in BY_KIND[kind]), pattern


def test_reports_and_the_progress_line_name_metrics():
  named = [(kind, name + "2" * name.endswith("_")) for kind, name in final_numbers._MAIN]
  named += [("evaluation" if name.startswith("held_out/") else "train", name) for name, *_ in progress._FIELDS]
  assert not [name for kind, name in named if find(kind, name) is None]
