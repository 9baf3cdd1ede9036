from __future__ import annotations

import numpy as np

from rl_jax.kernels.rewards.tool_calls import fewest_calls, otc_reward
from tests.kernels.kernel import Kernel, compiled

CORRECT, CALLS = np.array([1, 1, 0, 1, 0, 1]), np.array([4, 2, 0, 3, 0, 0])
IDS, MASK = np.array([7, 7, 7, 7, 9, 9]), np.array([1, 1, 1, 1, 1, 0])


def _reward(correct, calls, mask, fewest):
  return otc_reward(correct, calls, mask, smoothing=4.0, fewest=fewest, alpha=2.0)


def _fewest(correct, calls, group_ids, mask, stored):
  return fewest_calls(correct, calls, group_ids, mask, stored=stored)


def test_the_fewest_are_those_of_scored_correct_responses_and_a_record_stays():
  assert compiled(fewest_calls)(CORRECT, CALLS, IDS, MASK).tolist() == [2, 2, 2, 2, -1, -1]
  stored = np.array([1, 3, -1, -1, 5, -1])
  assert compiled(_fewest)(CORRECT, CALLS, IDS, MASK, stored).tolist() == [1, 2, 2, 2, 5, -1]


def test_rewards_by_hand():
  rewards = compiled(_reward)(CORRECT, CALLS, MASK, np.array([2, 2, 2, 2, -1, -1]))
  np.testing.assert_allclose(rewards, [2 * np.sin(np.pi * 2 / 3), 2, 0, 2 * np.sin(np.pi * 3 / 5), 0, 0], rtol=1e-6)


def test_shapes_of_both_forms():
  """The first falls from 1 to 0; the second is 1 at n, 0 without a call, and falls to 0 too. Wrong answers earn 0."""
  calls, every = np.arange(40), np.ones(40)
  first = compiled(otc_reward, smoothing=4.0)(every, calls, every)
  assert first[0] == 1 and (np.diff(first) < 0).all() and 0 < first[-1] < 0.1
  second = compiled(_reward)(every, calls, every, np.full(40, 5)) / 2
  assert second[0] == 0 and second.argmax() == 5 and (np.diff(second[:6]) > 0).all() and (np.diff(second[5:]) < 0).all()
  # As it is printed: f = 2 n m / (m + n), sin(f pi / (2 n)).
  f = 2 * 5 * np.arange(40) / (np.arange(40) + 5)
  np.testing.assert_allclose(second, np.sin(f * np.pi / 10), atol=1e-6)
  np.testing.assert_array_equal(compiled(_reward)(every, calls, every, 0 * calls), 2 * first)
  assert not compiled(otc_reward, smoothing=4.0)(0 * every, calls, every).any()


def _flags(rng, shape):
  return rng.random(shape) < 0.6


def _counts(rng, shape):
  return rng.integers(0, 5, shape).astype(np.int32)


DRAWS = {"correct": _flags, "calls": _counts, "fewest": _counts}

KERNELS = [
  Kernel(
    fewest_calls,
    {"correct": "B", "calls": "B", "group_ids": "B", "mask": "B"},
    scope="group",
    zero_masked=False,
    draws=DRAWS,
  ),
  Kernel(
    otc_reward,
    {"correct": "B", "calls": "B", "mask": "B", "fewest": "B"},
    {"smoothing": 4.0},
    draws=DRAWS,
  ),
]
