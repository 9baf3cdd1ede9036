"""Advisories by metrics made by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rl_jax.runs import advisories as rules
from rl_jax.runs.advisories import advisories, is_judged
from rl_jax.runs.record import Record, load
from rl_jax.runs.record import collect as series_of
from tests.runs import fabricated

HEALTHY = {
  "reward": [0.2, 0.5],
  "accuracy": [0.2, 0.5],
  "unscored": [0.0, 0.0],
  "zero_spread_rows": [0.5, 0.4],
  "kl_to_behaviour": [1e-6, 1e-6],
  "clip_fraction": [0.01, 0.02],
  "response_length": [100.0, 60.0],
  "entropy": [1.0, 0.5],
  "truncated": [0.1, 0.1],
  "skipped_updates": [0.0, 0.0],
}
"""First and last half of a run, metric by metric."""


def record(iterations=40, seeds=1, config=None, **changed):
  """A run whose metrics have one value in its first half and another in its last; a list of lists: by seed."""
  values = {name: change for name, change in (HEALTHY | changed).items() if change is not None}
  lines = []
  for i in range(iterations):
    half = int(i >= iterations // 2)
    each = {name: np.broadcast_to(np.asarray(value[half], float), (seeds,)).tolist() for name, value in values.items()}
    lines.append({"kind": "train", "iteration": i + 1, **each})
  return Record("run", config or {}, [], series_of(lines), [])


def only(run):
  """The single advisory of a run."""
  (found,) = advisories(run)
  return found


def test_a_healthy_run_has_none():
  assert advisories(record()) == [] and is_judged(record())


@pytest.mark.parametrize(
  ("name", "changed", "said"),
  [
    ("Dead groups", {"zero_spread_rows": [0.5, 0.9]}, "90 % of the scored rows in the last 20 iterations"),
    ("Ratio drift", {"kl_to_behaviour": [1e-6, 0.05]}, "differ by 0.050 nats per token"),
    ("Clipped ratios", {"clip_fraction": [0.0, 0.3]}, "30 % of the trained tokens"),
    ("Length collapse", {"response_length": [120.0, 12.0]}, "120 to 12 tokens, while the reward went from 0.2"),
    ("Entropy collapse", {"entropy": [0.8, 0.04]}, "from 0.800 to 0.040 nats per token"),
    ("Unscored rows", {"unscored": [0.0, 0.2]}, "20 % of the rows in the last 20 iterations have no verdict"),
    ("Truncated responses", {"truncated": [0.0, 0.75]}, "75 % of the responses"),
    ("Skipped updates", {"skipped_updates": [0.0, 0.25]}, "25 % of the updates"),
    (
      "Verifier never pays",
      {"accuracy": [0.0, 0.0], "reward": [-1.0, -1.0], "zero_spread_rows": [1.0, 1.0]},
      "of 40 iterations have the reward -1",
    ),
    ("Verifier never called", {"unscored": [1.0, 1.0], "reward": [math.nan] * 2}, "was never called"),
  ],
)  # fmt: skip
def test_each_rule_alone(name, changed, said):
  found = only(record(**changed))
  assert found.name == name and said in found.text


@pytest.mark.parametrize(
  ("metric", "bound"),
  [
    ("zero_spread_rows", rules.DEAD_GROUPS),
    ("kl_to_behaviour", rules.DRIFT),
    ("clip_fraction", rules.CLIPPED),
    ("unscored", rules.UNSCORED),
    ("truncated", rules.TRUNCATED),
    ("skipped_updates", rules.SKIPPED),
  ],
)
def test_a_threshold_is_exceeded_and_not_reached(metric, bound):
  assert advisories(record(**{metric: [0.0, bound * 0.999]})) == []
  assert len(advisories(record(**{metric: [0.0, bound * 1.001]}))) == 1


@pytest.mark.parametrize(("metric", "kept"), [("response_length", rules.LENGTH_KEPT), ("entropy", rules.ENTROPY_KEPT)])
def test_a_collapse_is_relative_to_the_beginning(metric, kept):
  assert advisories(record(**{metric: [7.0, 7.0 * kept * 1.001]})) == []
  assert len(advisories(record(**{metric: [7.0, 7.0 * kept * 0.999]}))) == 1


def test_dead_groups_are_too_hard_or_too_easy():
  dead = {"zero_spread_rows": [0.9, 0.9]}
  assert "too hard (accuracy 0.020)" in only(record(accuracy=[0.01, 0.02], reward=[0.01, 0.02], **dead)).text
  assert "too easy by now (accuracy 0.980)" in only(record(accuracy=[0.3, 0.98], reward=[0.3, 0.98], **dead)).text
  assert "always or never solved (accuracy 0.500)" in only(record(**dead)).text
  assert "Prompts are always or never solved:" in only(record(accuracy=None, **dead)).text


def test_a_group_of_one_is_not_dead():
  assert advisories(record(zero_spread_rows=[1.0, 1.0], config={"completions_per_prompt": 1})) == []


def test_a_solved_task_may_have_no_entropy():
  assert advisories(record(entropy=[1.0, 0.01], accuracy=[0.5, 0.99])) == []
  solved_in_one_seed = record(seeds=2, entropy=[1.0, 0.01], accuracy=[0.5, [0.99, 0.6]])
  assert only(solved_in_one_seed).name == "Entropy collapse (seed 1)"


def test_seeds_are_judged_apart():
  found = only(record(seeds=3, response_length=[100.0, [10.0, 90.0, 20.0]]))
  assert found.name == "Length collapse (seeds 0, 2)" and "from 100 to 15 tokens" in found.text
  dead = record(seeds=2, zero_spread_rows=[0.5, [0.9, 0.5]], accuracy=[0.5, [0.9, 0.1]])
  assert only(dead).name == "Dead groups (seed 0)" and "too easy by now (accuracy 0.900)" in only(dead).text
  assert only(record(seeds=2, response_length=[100.0, [10.0, 90.0]])).name == "Length collapse (seed 0)"


def test_a_reward_that_varies_below_the_full_one_pays():
  assert advisories(record(accuracy=[0.0, 0.0], reward=[0.1, 0.3])) == []


def test_a_failing_verifier_is_named_with_what_it_did():
  failing = {"part/timed_out": [0.0, 0.0], "part/error": [0.0, 0.2]}
  assert "The verifier raised an error on 20 % of the rows" in only(record(unscored=[0.0, 0.2], **failing)).text
  never = {"unscored": [1.0, 1.0], "reward": [math.nan] * 2, "part/crashed": [1.0, 1.0]}
  assert only(record(**never)).name == "Verifier fails"
  assert "crashed on 100 % of the rows" in only(record(**never)).text


def test_unscored_rows_without_a_failure_may_be_meant():
  assert "This is intended if the method trains on unfinished responses" in only(record(unscored=[0.5, 0.5])).text


def test_supervised_learning_is_judged_by_its_updates_alone():
  sampled_nothing = {"generated_tokens": [0.0, 0.0]}
  faults = {"entropy": [3.0, 0.1], "zero_spread_rows": [1.0, 1.0]}
  assert advisories(record(**sampled_nothing, **faults)) == []
  assert only(record(skipped_updates=[0.5, 0.5], **sampled_nothing)).name == "Skipped updates"


def test_the_gravest_comes_first():
  names = [a.name for a in advisories(record(unscored=[1.0, 1.0], entropy=[1.0, 0.01], truncated=[0.9, 0.9]))]
  assert names == ["Verifier never called", "Entropy collapse", "Truncated responses"]


def test_a_short_run_is_not_judged():
  faults = {"zero_spread_rows": [1.0, 1.0], "entropy": [1.0, 0.01]}
  assert advisories(record(iterations=rules.FEWEST - 1, **faults)) == []
  assert not is_judged(record(iterations=rules.FEWEST - 1))
  assert [a.name for a in advisories(record(iterations=rules.FEWEST, **faults))] == ["Dead groups"]  # windows overlap
  assert len(advisories(record(iterations=2 * rules.FEWEST, **faults))) == 2


def test_a_long_run_is_judged_by_its_latest_window():
  lines = [{"kind": "train", "iteration": i, "truncated": [float(i <= 180)]} for i in range(1, 201)]
  assert advisories(Record("run", {}, [], series_of(lines), [])) == []


def test_numbers_that_are_not_finite_are_left_out():
  lines = [{"kind": "train", "iteration": i, "truncated": [math.nan if i % 2 else 0.9]} for i in range(1, 41)]
  assert "90 %" in only(Record("run", {}, [], series_of(lines), [])).text
  nothing = {name: [math.nan, math.nan] for name in HEALTHY}
  assert advisories(record(**nothing)) == [] and advisories(Record("run", {}, [], {}, [])) == []


def test_a_run_of_its_files(tmp_path):
  assert advisories(load(fabricated.run(tmp_path / "x"))) == []
