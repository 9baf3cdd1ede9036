"""Interquartile means, their intervals and verdicts, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax.runs.comparison import (
  Estimate,
  at_tokens,
  difference,
  estimate,
  interquartile_mean,
  paired_difference,
  verdict,
)


def test_interquartile_mean_by_hand():
  assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0, -50.0])) == 2.0
  assert interquartile_mean(np.array([1.0, 3.0])) == 2.0
  np.testing.assert_allclose(interquartile_mean(np.arange(16.0).reshape(2, 8)), [3.5, 11.5])


def test_the_interval_holds_the_value_and_shrinks_with_more_seeds():
  rng = np.random.default_rng(0)
  few, many = (estimate(rng.normal(0.5, 0.1, n)) for n in (5, 80))
  for found in (few, many):
    assert found.low <= found.value <= found.high
  assert many.high - many.low < few.high - few.low
  assert estimate([0.25] * 5) == (0.25, 0.25, 0.25)


def test_the_interval_covers_as_often_as_it_says_with_many_seeds():
  rng = np.random.default_rng(1)
  covered = [found.low <= 0.0 <= found.high for found in (estimate(rng.normal(size=40)) for _ in range(100))]
  assert 88 <= sum(covered) <= 100


def test_seeds_of_one_start_are_not_independent():
  """Five starts that differ, with four equal seeds each: the interval is as wide as that of the five starts."""
  starts = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
  seeds = np.tile(starts, 4)  # seed s has start s mod 5
  found, naive, of_starts = estimate(seeds, starts=5), estimate(seeds), estimate(starts)
  width = lambda interval: interval.high - interval.low
  assert width(found) > 1.5 * width(naive) and abs(width(found) - width(of_starts)) < 0.15
  assert estimate(np.tile([0.5] * 5, 4), starts=5) == (0.5, 0.5, 0.5)


def test_starts_may_have_seeds_of_unequal_number():
  """A start counts as one, however many seeds it has; with equal numbers it is the rule of turns."""
  turns, each = estimate(np.tile([0.1, 0.5, 0.9], 4), starts=3), np.tile([0, 1, 2], 4)
  assert estimate(np.tile([0.1, 0.5, 0.9], 4), starts=each) == pytest.approx(turns, abs=0.02)
  lopsided = np.array([0, 0, 0, 0, 0, 0, 0, 0, 1])
  low, high = estimate((lopsided == 1).astype(float), starts=lopsided)[1:]
  assert (low, high) == (0.0, 1.0), "the lone seed of the second start is drawn as often as the eight of the first"


def test_blocks_of_prompts_are_a_source_of_their_own():
  """Seeds agree to the last digit, and all depends on which prompts were asked."""
  blocks = np.tile(np.linspace(0.0, 1.0, 16), (6, 1))
  found = estimate(blocks)
  assert found.value == pytest.approx(0.5) and 0.25 < found.high - found.low < 0.35  # 4 x 0.307 / sqrt(16)
  assert paired_difference(blocks, blocks - 0.1) == pytest.approx((0.1, 0.1, 0.1))  # both sides asked the same


def test_a_wider_level_has_a_wider_interval():
  seeds = np.random.default_rng(0).normal(size=10)
  ninety_five, more = estimate(seeds), estimate(seeds, level=0.995)
  assert more.low < ninety_five.low and ninety_five.high < more.high and more.value == ninety_five.value


def test_results_of_other_seeds_are_refused():
  with pytest.raises(ValueError, match="want the same seeds and blocks in both"):
    paired_difference([0.1, 0.2], [0.1, 0.2, 0.3])


def test_a_difference_is_that_of_the_means_and_repeats():
  left, right = [0.9, 0.8, 0.85, 0.88, 0.86], [0.5, 0.6, 0.55, 0.52, 0.58]
  found = difference(left, right)
  assert found.value == pytest.approx((0.85 + 0.86 + 0.88) / 3 - 0.55)
  assert found == difference(left, right) and found.low > 0
  assert difference(right, left).value == -found.value


@pytest.mark.parametrize(
  ("interval", "above", "said"),
  [
    ((0.01, 0.2), True, "holds"),
    ((-0.1, 0.2), True, "undecided"),
    ((-0.2, -0.01), True, "does not hold"),
    ((-0.2, -0.01), False, "holds"),
    ((0.01, 0.2), False, "does not hold"),
    ((0.0, 0.2), True, "undecided"),
  ],
)
def test_verdicts(interval, above, said):
  assert verdict(Estimate(0.0, *interval), above=above) == said


def test_a_value_at_a_number_of_tokens_lies_on_the_line():
  assert at_tokens([0, 100, 300], [0.2, 0.4, 0.8], 200) == pytest.approx(0.6)
  assert at_tokens([0, 100], [0.2, 0.4], 500) == 0.4


def test_finding_6_a_seed_without_a_number_is_not_cut_off_as_the_highest():
  assert np.isnan(interquartile_mean(np.array([1.0, 2.0, 3.0, 4.0, np.nan])))
  assert np.isnan(estimate([0.5, 0.5, 0.5, 0.5, float("nan")])).all()
  assert verdict(difference([0.9] * 4 + [float("nan")], [0.1] * 5)) == "undecided"
