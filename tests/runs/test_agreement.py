"""When a run that is made again agrees with its record."""

from __future__ import annotations

import math

from rl_jax.runs.agreement import departure, differences, within_seed_spread
from rl_jax.runs.metric_names import ACCURACY
from tests.runs.fabricated import LAUNCH


def line(iteration: int = 1, **metrics: list[float]) -> dict:
  return {"kind": "train", "iteration": iteration, **metrics}


def test_to_the_bit_the_last_bit_counts():
  there = line(reward=[0.1, 0.3], loss=[math.nan, 2.0])
  assert departure(there, line(reward=[0.1, 0.3], loss=[math.nan, 2.0], new=[1.0, 1.0])) is None
  found = departure(there, line(reward=[0.1, math.nextafter(0.3, 1)], loss=[math.nan, 2.0]))
  assert (found.iteration, found.metric, found.seed, found.recorded) == (1, "reward", 1, 0.3)
  assert str(found) == (
    "departs at iteration 1, train reward, seed 1: 0.3 recorded, 0.30000000000000004 here (want bit-identical)"
  )
  assert departure(there, line(reward=[0.1, 0.3], loss=[0.0, 2.0])).metric == "loss"


def test_a_metric_that_is_gone_departs():
  assert "missing here" in str(departure(line(reward=[0.5]), line()))


def test_a_tolerance_is_relative_above_one_and_absolute_below():
  there = line(small=[0.01], large=[100.0])
  assert departure(there, line(small=[0.0109], large=[100.09]), tolerance=1e-3) is None
  assert departure(there, line(small=[0.0111], large=[100.0]), tolerance=1e-3).metric == "small"
  assert departure(there, line(small=[0.01], large=[100.11]), tolerance=1e-3).metric == "large"
  assert departure(line(x=[math.nan]), line(x=[0.0]), tolerance=1e-3) is not None


def test_a_rounded_record_is_compared_as_it_was_rounded():
  rounded = lambda value: round(value, 4)
  assert departure(line(reward=[0.3333]), line(reward=[1 / 3]), rounded=rounded) is None
  assert departure(line(reward=[0.3333]), line(reward=[0.3334]), rounded=rounded) is not None


def test_the_seed_spread_is_that_of_the_whole_record():
  """Twice (0.1 + 0.5 / sqrt(100)) = 0.3: the spread of the first evaluation counts for the last."""
  recorded = [line(0, **{ACCURACY: [0.4, 0.5, 0.6]}), line(2, **{ACCURACY: [0.5, 0.5, 0.5]})]
  at = lambda value: line(2, **{ACCURACY: [value] * 3})
  assert within_seed_spread(recorded, at(0.79), 100) is None
  found = within_seed_spread(recorded, at(0.81), 100)
  assert found.seed is None and abs(found.allowed - 0.3) < 1e-12 and "mean over seeds" in str(found)
  one_seed = [line(0, **{ACCURACY: [0.5]})]
  assert within_seed_spread(one_seed, line(0, **{ACCURACY: [0.59]}), 100) is None
  assert within_seed_spread(one_seed, line(0, **{ACCURACY: [0.61]}), 100) is not None


def test_platforms_differ_by_what_computes_and_not_by_what_draws():
  assert differences(LAUNCH, LAUNCH | {"packages": {"jax": "0.10.2", "matplotlib": "4.0"}, "git_commit": "x"}) == []
  other = LAUNCH | {
    "cpu_threads_allowed": 4,
    "packages": {"jax": "0.12.0"},
    "flags": {"XLA_FLAGS": "--x"},
    "settings": {"jax_enable_x64": True},
  }
  assert differences(LAUNCH, other) == [
    "cpu_threads_allowed: 2, here 4",
    "jax: 0.10.2, here 0.12.0",
    "XLA_FLAGS: , here --x",
    "jax_enable_x64: False, here True",
  ]
  older = {name: value for name, value in LAUNCH.items() if name not in ("settings", "flags")}
  assert differences(older, other) == ["cpu_threads_allowed: 2, here 4", "jax: 0.10.2, here 0.12.0"]


def test_finding_6_an_accuracy_that_was_not_scored_agrees_with_its_like_alone():
  recorded = [line(0, **{ACCURACY: [0.4, 0.6]}), line(2, **{ACCURACY: [float("nan"), 0.5]})]
  assert within_seed_spread(recorded, line(2, **{ACCURACY: [float("nan"), 0.5]}), 100) is None
  assert within_seed_spread(recorded, line(2, **{ACCURACY: [0.5, 0.5]}), 100) is not None
  assert within_seed_spread(recorded[::-1], line(0, **{ACCURACY: [0.9, 0.9]}), 100) is not None
