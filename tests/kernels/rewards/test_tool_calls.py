from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.rewards.tool_calls import fewest_calls, otc_reward
from tests.kernels.kernel import Kernel

CORRECT, CALLS = jnp.array([1, 1, 0, 1, 0, 1]), jnp.array([4, 2, 0, 3, 0, 0])
IDS, MASK = jnp.array([7, 7, 7, 7, 9, 9]), jnp.array([1, 1, 1, 1, 1, 0])


def test_the_fewest_are_those_of_scored_correct_responses_and_a_record_stays():
  assert fewest_calls(CORRECT, CALLS, IDS, MASK).tolist() == [2, 2, 2, 2, -1, -1]
  stored = jnp.array([1, 3, -1, -1, 5, -1])
  assert fewest_calls(CORRECT, CALLS, IDS, MASK, stored=stored).tolist() == [1, 2, 2, 2, 5, -1]


def test_rewards_by_hand():
  fewest = fewest_calls(CORRECT, CALLS, IDS, MASK)
  rewards = otc_reward(CORRECT, CALLS, MASK, smoothing=4.0, fewest=fewest, alpha=2.0)
  np.testing.assert_allclose(rewards, [2 * np.sin(np.pi * 2 / 3), 2, 0, 2 * np.sin(np.pi * 3 / 5), 0, 0], rtol=1e-6)


def test_shapes_of_both_forms():
  """The first falls from 1 to 0; the second is 1 at n, 0 without a call, and falls to 0 too. Wrong answers earn 0."""
  calls, every = jnp.arange(40), jnp.ones(40)
  first = np.asarray(otc_reward(every, calls, every, smoothing=4.0))
  assert first[0] == 1 and (np.diff(first) < 0).all() and 0 < first[-1] < 0.1
  second = np.asarray(otc_reward(every, calls, every, smoothing=4.0, fewest=jnp.full(40, 5)))
  assert second[0] == 0 and second.argmax() == 5 and (np.diff(second[:6]) > 0).all() and (np.diff(second[5:]) < 0).all()
  # As it is printed: f = 2 n m / (m + n), sin(f pi / (2 n)).
  f = 2 * 5 * np.arange(40) / (np.arange(40) + 5)
  np.testing.assert_allclose(second, np.sin(f * np.pi / 10), atol=1e-6)
  np.testing.assert_array_equal(otc_reward(every, calls, every, smoothing=4.0, fewest=0 * calls), first)
  assert not otc_reward(0 * every, calls, every, smoothing=4.0).any()


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
