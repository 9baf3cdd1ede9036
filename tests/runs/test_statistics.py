"""Numbers over seeds and how they are written, against values worked by hand and tables."""

import math

import numpy as np
import pytest

from rl_jax.runs.formatting import duration, mean_and_spread, number, rate
from rl_jax.runs.statistics import difference_interval, interval, mean, spread, summary, t_quantile


def test_by_hand():
  values = [1.0, 2.0, 6.0]
  assert mean(values) == 3.0
  assert spread(values) == math.sqrt((4 + 1 + 9) / 2)
  low, high = interval(values)
  t = 0.95 / math.sqrt(2 * 0.975 * 0.025)  # two degrees of freedom have a closed form; tables say 4.303
  half = t * math.sqrt(7) / math.sqrt(3)
  assert (low, high) == pytest.approx((3 - half, 3 + half), abs=1e-12)
  assert summary(values) == (3.0, math.sqrt(7), low, high, 3)


@pytest.mark.parametrize(
  ("probability", "degrees", "expected"),
  [
    (0.975, 1, math.tan(0.475 * math.pi)),
    (0.975, 2, 0.95 / math.sqrt(2 * 0.975 * 0.025)),
    (0.975, 3, 3.1824463052837078),  # this and below: scipy.stats.t.ppf, scipy 1.17.1
    (0.975, 4, 2.7764451051977934),
    (0.95, 7, 1.8945786050900062),
    (0.995, 10, 3.16927267261695),
    (0.975, 100, 1.9839715185235518),
    (0.025, 4, -2.7764451051977934),
  ],
)
def test_t_quantile(probability, degrees, expected):
  assert t_quantile(probability, degrees) == pytest.approx(expected, rel=1e-12)


def test_few_and_broken_values():
  assert mean([2.0]) == 2.0
  assert math.isnan(mean([])) and math.isnan(spread([2.0])) and all(map(math.isnan, interval([2.0])))
  assert math.isnan(mean([1.0, math.nan])) and math.isnan(spread([1.0, math.nan]))
  assert mean([1.0, math.inf]) == math.inf and math.isnan(spread([1.0, math.inf]))
  assert spread([0.1] * 5) < 1e-16


def test_agrees_with_numpy():
  values = np.random.default_rng(0).normal(size=7)
  assert mean(list(values)) == pytest.approx(values.mean(), abs=1e-15)
  assert spread(list(values)) == pytest.approx(values.std(ddof=1), abs=1e-15)


def test_formatting():
  shown = [number(x) for x in (0.7139, 12.34, 1234.5, 3e-4, 7, 8192.0, math.nan, -math.inf, 0.0)]
  assert shown == ["0.714", "12.3", "1,234", "3.00e-04", "7", "8,192", "NaN", "-inf", "0"]
  assert mean_and_spread([0.70, 0.72], 2) == "0.71 ±0.01" and mean_and_spread([0.5], 2) == "0.50"
  assert [duration(s) for s in (0.4, 59.6, 72, 11100, 187200)] == ["0s", "1m00s", "1m12s", "3h05m", "2d04h"]
  assert [rate(x) for x in (950, 48200, 1.25e6)] == ["950", "48.2k", "1.2M"]


def test_the_interval_of_a_difference_by_hand():
  t = 0.95 / math.sqrt(2 * 0.975 * 0.025)  # two degrees of freedom
  half = t * math.sqrt(7 / 3 + (1 / 3) / 4)
  low, high = difference_interval([1.0, 2.0, 6.0], [1.0, 1.0, 2.0, 2.0])
  assert (low, high) == pytest.approx((1.5 - half, 1.5 + half), abs=1e-12)
  assert all(map(math.isnan, difference_interval([1.0, 2.0], [1.0])))
