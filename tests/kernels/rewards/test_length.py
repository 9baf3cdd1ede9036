from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards.length import difficulty_limits, overlong_penalty, truncation_reward
from tests.kernels.kernel import Kernel


def test_floor_is_the_paper_and_the_bare_slope_is_verl():
  lengths = jnp.array([0, 150, 175, 200, 250])
  options = dict(max_length=200, buffer=50)
  np.testing.assert_allclose(overlong_penalty(lengths, **options), [0, 0, -0.5, -1, -1])
  np.testing.assert_allclose(overlong_penalty(lengths, **options, floor=False, factor=2.0), [0, 0, -1, -2, -4])


def test_an_impossible_buffer_is_refused():
  with pytest.raises(ValueError, match="expected 0 < buffer <= max_length, got 0 and 10"):
    overlong_penalty(jnp.ones(1), max_length=10, buffer=0)


def test_a_response_of_exactly_the_limit_is_finished():
  rewards, lengths = jnp.array([1.0, 1.0, 0.0, 1.0, jnp.nan]), jnp.array([3, 4, 2, 5, 1])
  scored = jnp.array([True, True, True, True, False])
  np.testing.assert_allclose(truncation_reward(rewards, lengths, scored, limits=4), [1, 1, 0, 0, 0])
  partial = truncation_reward(rewards, lengths, scored, limits=4, overlong_factor=0.1)
  np.testing.assert_allclose(partial, [1, 1, 0, 0.1, 0], rtol=1e-6)


def test_limits_by_row():
  limits = jnp.array([2.0, 4.0])
  np.testing.assert_allclose(
    truncation_reward(jnp.ones(2), jnp.array([3, 3]), jnp.ones(2, bool), limits=limits), [0, 1]
  )


def test_easy_prompts_get_fewer_tokens():
  correct = jnp.array([1, 0, 1, 1, 0, 0, 1, 0])
  ids = jnp.array([9, 9, 4, 4, 4, 2, 2, 6])
  scored = jnp.array([True] * 6 + [False, False])
  # 9: exactly half counts as hard. 4: two of three. 2: none once the unscored row is left out. 6: nothing is scored.
  expected = [4000, 4000, 2000, 2000, 2000, 4000, 4000, 4000]
  np.testing.assert_allclose(difficulty_limits(correct, ids, scored), expected)
  # A share of 1 / 3 in the working precision is not above the threshold 1 / 3.
  thirds = difficulty_limits(jnp.array([1, 0, 0]), jnp.zeros(3, int), jnp.ones(3, bool), thresholds=(1 / 3,))
  np.testing.assert_allclose(thirds, 4000)


def test_limits_that_do_not_fit_the_thresholds_are_refused():
  args = jnp.ones(1), jnp.zeros(1, int), jnp.ones(1, bool)
  with pytest.raises(ValueError, match="expected ascending thresholds and one limit more"):
    difficulty_limits(*args, limits=(4000, 3000, 2000))
  with pytest.raises(ValueError, match="expected ascending thresholds and one limit more"):
    difficulty_limits(*args, thresholds=(0.6, 0.3), limits=(4000, 3000, 2000))


DRAWS = {"limits": lambda rng, shape: rng.integers(0, 300, shape).astype("int32")}

KERNELS = [
  Kernel(overlong_penalty, {"lengths": "B"}, {"max_length": 200, "buffer": 50}, mask=None),
  Kernel(
    truncation_reward,
    {"rewards": "B", "lengths": "B", "mask": "B", "limits": "B"},
    {"overlong_factor": 0.1},
    draws=DRAWS,
  ),
  Kernel(
    difficulty_limits,
    {"correct": "B", "group_ids": "B", "mask": "B"},
    {"thresholds": (0.3, 0.6), "limits": (400, 300, 200)},
    scope="group",
    zero_masked=False,
  ),
]
