"""Names that a real run records: figures look for no others, and the table of metrics has them."""

from __future__ import annotations

import io
import re

import pytest

from rl_jax.configuration import configs
from rl_jax.launching import launch
from rl_jax.launching.launch import Terminal
from rl_jax.launching.stop import Stop
from rl_jax.runs import panels
from rl_jax.runs.directory import find_run
from rl_jax.runs.header import facts
from rl_jax.runs.metric_names import find
from rl_jax.runs.record import load
from tests import commands

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def record(tmp_path_factory):
  """A smoke run with two levels, a reference and credit against the truth, so that every kind of metric is there."""

  def make(folder):
    more = ("init_from=", "num_iterations=2", "method.kl_coefficient=0.1", "evaluation.credit_prompts=1")
    levels = "task.levels={'two': {'operations': 2}, 'three': {'operations': 3}}"
    small = [change for change in commands.SMALL if not change.startswith("task.levels")]
    config = configs.resolve("experiments/grpo.py:smoke", [*small, *more, levels, "evaluation.credit_samples=2"])
    launch.train(config, folder / "run", Terminal(["rl-jax", "train", "grpo:smoke"], io.StringIO(), Stop()))

  return load(find_run(commands.once(tmp_path_factory, "recorded_names", make) / "run"))


@pytest.mark.parametrize(
  ("kind", "pattern"),
  [pattern[:2] for rule in panels._RULES for pattern in rule.patterns],
  ids=lambda value: value,
)
def test_finding_7_every_pattern_of_a_panel_finds_a_recorded_metric(record, kind, pattern):
  assert any(re.fullmatch(pattern, name) for name in record.series[kind]), sorted(record.series[kind])


def test_every_recorded_name_has_a_meaning(record):
  assert not [(kind, name) for kind, group in record.series.items() for name in group if find(kind, name) is None]


def test_the_share_of_rows_in_groups_of_equal_reward_is_a_curve(record):
  (panel,) = [panel for panel in panels.main_panels(record) if panel.title == "Rows without a full signal"]
  labels = [label for curve in panel.curves for label in curve.label.split(" = ")]
  assert sorted(labels) == ["groups of equal reward", "truncated", "unscored"]


def test_the_manifest_counts_the_parameters_of_one_seed(record):
  counts = record.launches[-1]["parameters"]
  width, vocabulary = 8, 64
  assert set(counts) == {"policy", "reference"} and counts["policy"] == counts["reference"]
  assert 2 * width * 16 < counts["policy"] < 4 * width * vocabulary, "not of all seeds together"
  assert facts(record)["parameters"] == f"policy {counts['policy']:,}, reference {counts['reference']:,}"
