"""What a study writes, from entries made by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rl_jax.runs import study_results
from rl_jax.runs.errors import RunError
from rl_jax.runs.study_results import ACCURACY, Entry

LENGTH = "held_out/response_length"
CONFIG = {
  "token_budget": 150,
  "metrics": (ACCURACY, LENGTH, "credit/mse"),
  "baseline": "plain",
  "tuning": {"grid": {"learning_rate": (1e-3, 1e-4)}, "overrides": ("num_seeds=2",)},
  "claims": {
    "dense is better": {"left": "dense", "right": "plain", "metric": ACCURACY},
    "dense is shorter": {"left": "dense", "right": "plain", "metric": LENGTH, "direction": "below"},
    "dense is longer": {"left": "dense", "right": "plain", "metric": LENGTH},
    "credit": {"left": "dense", "right": "plain", "metric": "credit/mse"},
    "absent": {"left": "other", "right": "plain", "metric": ACCURACY},
  },
}


def entry(last: float, length: float, seeds: int = 5) -> Entry:
  """Accuracy rises from 0 to `last` over 200 tokens; seeds differ a little."""
  tokens = np.array([[0.0], [100.0], [200.0]]) * np.ones(seeds)
  shift = np.linspace(-0.01, 0.01, seeds)
  accuracy = np.array([[0.0], [last / 2], [last]]) + shift
  at_budget = {ACCURACY: list(0.75 * last + shift), LENGTH: [length] * seeds}
  values = {ACCURACY: accuracy, LENGTH: np.full((3, seeds), length)}
  return Entry(tokens, values, at_budget, 3.0, {"git_commit": "abc", "git_clean": True}, ("learning_rate=0.001",))


def test_the_table_holds_intervals_differences_and_verdicts(tmp_path):
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.8, 10.0)}
  written = study_results.write(tmp_path / "results", "toy", CONFIG, entries, "python -m rl_jax.study toy.py")
  assert "| plain | learning_rate=0.001 | 0.300 [0.29" in written.table
  assert "| dense | learning_rate=0.001 | 0.600 [" in written.table and "| +0.300 [+0.2" in written.table
  assert "- dense is better: **holds**" in written.table and "- dense is shorter: **holds**" in written.table
  assert "- dense is longer: **does not hold**" in written.table
  assert "- credit: not measured (credit/mse)" in written.table and "absent" not in written.table
  assert "learning_rate in 0.001, 0.0001 (num_seeds=2, same budget) for every method" in written.table
  small = json.loads((tmp_path / "results/toy.json").read_text())
  assert small["entries"]["dense"]["values"][ACCURACY][1] == pytest.approx([0.39, 0.395, 0.4, 0.405, 0.41])
  assert small["command"] == "python -m rl_jax.study toy.py"
  assert (tmp_path / "results/toy.png").read_bytes().startswith(b"\x89PNG")


def test_a_claim_that_seeds_cannot_decide_is_undecided(tmp_path):
  entries = {"plain": entry(0.4, 20.0), "dense": entry(0.4, 20.0)}
  table = study_results.write(tmp_path, "toy", CONFIG, entries, "").table
  assert "- dense is better: **undecided**" in table and "- dense is shorter: **undecided**" in table


def test_four_seeds_are_too_few(tmp_path):
  with pytest.raises(RunError, match="plain has 4 seeds: a study compares at least 5"):
    study_results.write(tmp_path, "toy", CONFIG, {"plain": entry(0.4, 1.0, seeds=4)}, "")
