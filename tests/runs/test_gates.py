"""Gates of studies, from curves made by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.runs.gates import already_right, first_reached, gates
from rl_jax.runs.metric_names import ACCURACY, GREEDY
from rl_jax.runs.study_results import Entry

ROLES = {"oracle": "oracle", "no_reward": "no_reward"}


def entry(curve, greedy=0.1):
  """Accuracy at 0, 100, 200, … tokens, the same for both seeds; the last point stands at the budget."""
  values = np.array(curve)[:, None] * np.ones(2)
  tokens = 100.0 * np.arange(len(curve))[:, None] * np.ones(2)
  return Entry(
    tokens, {ACCURACY: values, GREEDY: np.full(values.shape, greedy)}, {ACCURACY: [curve[-1]] * 2}, 1.0, {},
    iterations=tuple(range(len(curve))), updates_per_iteration=4,
  )  # fmt: skip


STUDY = {
  "grpo": entry([0.05, 0.1, 0.15, 0.2, 0.3]), "oracle": entry([0.05, 0.2, 0.4, 0.6, 0.8]),
  "no_reward": entry([0.05, 0.05, 0.06, 0.05, 0.05]),
}  # fmt: skip


def judged(**changed):
  return {gate.name: gate for gate in gates(ROLES, "grpo", STUDY | changed, ACCURACY, 400)}


def test_a_study_that_can_tell_passes_all_gates():
  found = judged()
  assert {name: gate.passed for name, gate in found.items()} == dict.fromkeys(
    ("start", "no_reward", "baseline", "oracle"), True
  )
  assert "to 0.300 oracle needs 150 tokens, grpo needs 400" in found["oracle"].line
  assert found["baseline"].line == "- baseline: holds (grpo gains +0.250, from 0.050 to 0.300)"


@pytest.mark.parametrize(
  ("gate", "changed"),
  [
    ("start", {"grpo": entry([0.05, 0.1, 0.15, 0.2, 0.3], greedy=0.4)}),
    ("no_reward", {"no_reward": entry([0.05, 0.1, 0.2, 0.2, 0.2])}),
    ("baseline", {"grpo": entry([0.05, 0.05, 0.05, 0.05, 0.08])}),
    ("oracle", {"oracle": entry([0.05, 0.1, 0.2, 0.3, 0.4])}),  # 300 of 400 tokens
    ("oracle", {"oracle": entry([0.05, 0.1, 0.1, 0.1, 0.1])}),  # never
  ],
)
def test_each_gate_can_fail(gate, changed):
  found = judged(**changed)
  assert found[gate].passed is False and "**fails**" in found[gate].line


def test_the_oracle_is_shown_for_each_start():
  """From the first start it needs 150 of 400 tokens to 0.3, from the second it never comes to 0.5."""
  first, second = [0.05, 0.1, 0.15, 0.2, 0.3], [0.05, 0.1, 0.2, 0.3, 0.5]

  def two(*curves):
    values = np.array(curves).T
    one = entry(curves[0])
    return one._replace(values=one.values | {ACCURACY: values}, at_budget={ACCURACY: list(values[-1])}, starts=2)

  found = judged(grpo=two(first, second), oracle=two([0.05, 0.2, 0.4, 0.6, 0.8], [0.05, 0.2, 0.3, 0.3, 0.3]))["oracle"]
  assert found.line.endswith("wanted at most half; as a share of grpo's, by start: 0.38, never)")


def test_a_study_without_an_oracle_has_three_gates():
  found = gates({"no_reward": "no_reward"}, "grpo", STUDY, ACCURACY, 400)
  assert [gate.name for gate in found] == ["start", "no_reward", "baseline"] and all(gate.passed for gate in found)


def test_an_oracle_that_never_gets_there_is_said_in_words():
  found = judged(oracle=entry([0.05, 0.1, 0.1, 0.1, 0.1]))["oracle"]
  assert "to 0.300 oracle does not come, grpo needs 400; wanted" in found.figures


def test_a_control_that_was_not_run_is_said():
  found = {gate.name: gate for gate in gates(ROLES, "grpo", {"grpo": STUDY["grpo"]}, ACCURACY, 400)}
  assert found["oracle"].passed is None and "not measured (oracle or grpo was not run)" in found["oracle"].line
  assert found["no_reward"].passed is None and found["start"].passed


def test_a_baseline_that_falls_is_nothing_to_compare_with():
  falling = entry([0.05, 0.04, 0.03, 0.02, 0.02])
  assert judged(grpo=falling, oracle=falling)["oracle"].passed is None


def test_where_a_curve_first_comes_to_a_level():
  x = np.array([0.0, 100.0, 200.0])
  assert first_reached(x, np.array([0.0, 0.5, 0.4]), 0.25) == 50
  assert first_reached(x, np.array([0.3, 0.5, 0.4]), 0.25) == 0
  assert first_reached(x, np.array([0.0, 0.1, 0.2]), 0.25) == np.inf


def test_a_start_that_is_already_right_is_a_warning():
  assert "greedy accuracy 0.95" in already_right({GREEDY: np.array([0.9, 1.0])})
  assert already_right({GREEDY: np.array([0.9])}) == "" and already_right({}) == ""


def test_updates_of_an_entry():
  one = STUDY["grpo"]
  assert one.end("updates", 400) == 16 and one.end("updates", 50) == 2
  assert one.mean_over(ACCURACY, "updates", 8)[:, 0] == pytest.approx([0.1, 0.1])  # 0.05 0.1 0.15
  assert one.mean_over(ACCURACY, "tokens", 50)[:, 0] == pytest.approx([0.0625, 0.0625])  # 0.05 to 0.075


@pytest.mark.parametrize(("gate", "changed"), [
  ("start", {"later": entry([0.05, 0.1, 0.15, 0.2, 0.3], greedy=np.nan)}),
  ("no_reward", {"no_reward": entry([0.05, 0.05, 0.06, 0.05, np.nan])}),
  ("baseline", {"grpo": entry([np.nan, 0.1, 0.15, 0.2, 0.3])}),
  ("oracle", {"grpo": entry([0.05, 0.1, 0.15, 0.2, np.nan])}),
  ("oracle", {"oracle": entry([0.05, np.nan, 0.4, 0.6, 0.8])}),
])  # fmt: skip
def test_finding_6_a_gate_over_what_was_not_scored_is_not_measured(gate, changed):
  assert judged(**changed)[gate].passed is None and "not measured" in judged(**changed)[gate].line
