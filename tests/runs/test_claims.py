"""Verdicts on claims, from entries made by hand: each axis, each outcome, several comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.runs import claims
from rl_jax.runs.metric_names import ACCURACY, LENGTH
from rl_jax.runs.study_results import Entry, from_json

SEEDS = 6


def entry(last, *, tokens=100.0, updates=4, sequential=10.0, length=(20.0, 10.0), blocks=None):
  """Accuracy rises from 0 to `last` over two evaluations; seeds differ a little."""
  shift = np.linspace(-0.01, 0.01, SEEDS)
  accuracy = np.array([[0.0], [last / 2], [last]]) + shift
  lengths = np.linspace(*length, 3)[:, None] * np.ones(SEEDS)
  at = lambda step: step * np.arange(3.0)[:, None] * np.ones(SEEDS)
  return Entry(
    at(tokens), {ACCURACY: accuracy, LENGTH: lengths},
    {ACCURACY: list(accuracy[-1]), LENGTH: list(lengths[-1])}, 1.0, {},
    iterations=(0, 1, 2), updates_per_iteration=updates, starts=3, sequential=at(sequential), blocks=blocks,
  )  # fmt: skip


def judged(across, left, right, metric=ACCURACY, direction="above", budget=200.0, failed=()):
  claim = {"left": "dense", "right": "plain", "metric": metric, "direction": direction, "across": across}
  return claims.lines({"c": claim}, {"dense": left, "plain": right}, failed, budget)[-1]


def test_each_axis_ends_where_the_shorter_of_both_does():
  """Twice the accuracy for twice the tokens: better per update, equal per token."""
  slow, fast = entry(0.4), entry(0.8, tokens=200.0)
  assert "- c: **holds** (mean held_out/sampled_accuracy over 4 updates, dense minus plain: +0.100 [" in judged(
    "updates", fast, slow
  )
  per_token = judged("tokens", fast, slow)
  assert "**undecided** (mean held_out/sampled_accuracy over 200 tokens, dense minus plain: +0.000 [" in per_token
  assert "over 10 sequential tokens, dense minus plain: +0.100" in judged("sequential_tokens", fast, slow)
  assert "**undecided** (held_out/sampled_accuracy, dense minus plain: +0.000" in judged("budget", fast, slow)


def test_lengths_are_compared_where_accuracies_are_equal():
  """The seed with the second lowest of six ends (0.39, 0.394, ...) sets the level, so the lowest is left out. There the
  first entry has come half of its way, from 20 to 16; the second nearly all of it, from 20 to 10."""
  line = judged("accuracy", entry(0.8, length=(20, 12)), entry(0.4), LENGTH, "below")
  assert "**does not hold** (held_out/response_length at accuracy 0.394 (5 of 6 pairs of seeds), dense minus" in line
  assert "plain: +5.880 [" in line


def test_a_seed_that_never_has_the_accuracy_has_no_length_at_it():
  """It stays at the start, whatever its responses have become."""
  stuck, other = entry(0.8, length=(20, 12)), entry(0.8, length=(20, 12))
  stuck.values[ACCURACY][:, 2] = stuck.at_budget[ACCURACY][2] = 0.0
  stuck.values[LENGTH][-1, 2] = stuck.at_budget[LENGTH][2] = 1e6
  line = judged("accuracy", stuck, other, LENGTH, "below")
  assert "(5 of 6 pairs of seeds), dense minus plain: +0.000 [+0.000, +0.000]" in line
  stuck.values[ACCURACY][:, 3] = stuck.at_budget[ACCURACY][3] = 0.0
  line = judged("accuracy", stuck, other, LENGTH, "below")
  assert line == "- c: not judged (4 of 6 pairs of seeds come above an accuracy of 0.050, three quarters are needed)"


def test_equal_accuracy_is_above_chance_and_within_the_budget():
  """Guesses come to 0.1. What a run does past the budget of 150 tokens counts as little there as anywhere."""
  claim = {"left": "dense", "right": "plain", "metric": LENGTH, "across": "accuracy", "chance": 0.1}
  of = lambda last, budget=200.0: claims.lines({"c": claim}, {n: entry(last) for n in ("dense", "plain")}, (), budget)
  assert "not judged (0 of 6 pairs of seeds come above an accuracy of 0.150" in of(0.14)[-1]
  assert "at accuracy 0.194 (5 of 6" in of(0.2)[-1]
  early = {name: entry(0.8) for name in ("dense", "plain")}
  early = {name: e._replace(at_budget={ACCURACY: [0.6] * SEEDS, LENGTH: [12.5] * SEEDS}) for name, e in early.items()}
  assert "at accuracy 0.600, dense" in claims.lines({"c": claim}, early, (), 150.0)[-1]


def test_an_evaluation_that_scored_nothing_is_no_accuracy():
  lost = entry(0.8)
  lost.values[ACCURACY][1, 0] = np.nan
  line = judged("accuracy", lost, entry(0.8), LENGTH, "below")
  assert line == "- c: not judged (evaluations in which nothing was scored)"


def test_two_metrics_of_one_entry_are_compared():
  """Accuracy 0.5 at the end, and a length that is half of the other one there."""
  claim = {"left": "dense", "right": "dense", "metric": LENGTH, "right_metric": ACCURACY, "across": "budget"}
  (line,) = claims.lines({"c": claim}, {"dense": entry(0.5)}, (), 200.0)[2:]
  assert "**holds** (held_out/response_length minus held_out/sampled_accuracy, both of dense: +9.500" in line
  (line,) = claims.lines({"c": claim | {"right_metric": "other"}}, {"dense": entry(0.5)}, (), 200.0)[2:]
  assert line == "- c: not measured (other)"


def test_a_relative_variance_is_that_of_steps_between_evaluations():
  """Up to the budget a zigzag of 1 and 3 has a mean of 9/5 and steps of 2, so 50/81; a line of tenfold size from 10 to
  30 a mean of 20 and steps of 5, so 1/32."""
  across = lambda *curve: entry(0.5)._replace(
    tokens=50.0 * np.arange(6.0)[:, None] * np.ones(SEEDS), values={ACCURACY: np.array(curve)[:, None] * np.ones(SEEDS)}
  )
  zigzag, line = across(1, 3, 1, 3, 1, 9), across(10, 15, 20, 25, 30, 90)
  found = judged("relative_variance", line, zigzag, direction="below")
  difference = f"{1 / 32 - 50 / 81:.3f}"
  words = (
    f"relative variance of held_out/sampled_accuracy, dense minus plain: {difference} [{difference}, {difference}]"
  )
  assert f"**holds** ({words})" in found
  assert "**does not hold** (" in judged("relative_variance", line, zigzag)


def test_the_number_of_comparisons_widens_the_interval():
  """The claim holds for itself; with twenty others its interval at 99.8 % has 0 in it."""
  rng = np.random.default_rng(0)
  noise = rng.normal(size=SEEDS)
  noisy = entry(0.5)
  values = noisy.values | {ACCURACY: noisy.values[ACCURACY] + 0.01 * (noise - noise.mean()) + 0.004}
  entries = {"dense": noisy._replace(values=values, starts=1), "plain": entry(0.5)._replace(starts=1)}
  claim = {"left": "dense", "right": "plain", "metric": ACCURACY, "across": "budget"}
  alone = claims.lines({"c": claim}, entries, (), 200.0)
  assert alone[0] == "Claims (at this size and budget; one comparison):" and "**holds**" in alone[-1]
  many = claims.lines({f"c{i}": claim for i in range(21)}, entries, (), 200.0)
  assert many[0] == "Claims (at this size and budget; 21 comparisons, of which one in twenty holds by chance):"
  assert "**holds**" in many[-1] and "; at 99.8 %, for all together: [" in many[-1]
  assert many[-1].endswith("undecided)")


def test_a_failed_gate_is_said_in_place_of_a_verdict():
  assert "not judged (gates: oracle) (mean" in judged("updates", entry(0.8), entry(0.4), failed=["oracle"])


def test_an_unknown_axis_lists_the_known():
  with pytest.raises(ValueError, match="across 'time': want one of budget, accuracy, relative_variance, tokens"):
    judged("time", entry(0.8), entry(0.4))


def test_an_entry_comes_back_from_its_json():
  blocks = np.random.default_rng(0).integers(0, 32, (3, SEEDS, 4)) / 32
  made = entry(0.5, blocks=blocks)._replace(tried={"a": 0.25}, chosen=("a",), origin={"identity": "x"})
  back = from_json(made.as_json())
  for name in ("tokens", "sequential", "blocks"):
    np.testing.assert_allclose(getattr(back, name), getattr(made, name), rtol=1e-4)
  np.testing.assert_allclose(back.values[ACCURACY], made.values[ACCURACY], atol=1e-5)
  assert (back.tried, back.chosen, back.starts, back.iterations) == (made.tried, made.chosen, 3, (0, 1, 2))
  assert back.curves(ACCURACY).shape == (3, SEEDS, 4)


def test_finding_6_what_was_not_scored_stays_so():
  made = entry(0.5)
  made.values[ACCURACY][1, 2] = np.nan
  assert np.isnan(from_json(made.as_json()).values[ACCURACY][1, 2])
