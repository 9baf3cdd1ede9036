from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.advantages.shaping import aspo, early_tool_reward
from tests.kernels.kernel import Kernel

CORRECT = jnp.array([True, True, False, True])
USED = jnp.array([True, True, True, False])
POSITIONS = jnp.array([10.0, 60.0, 20.0, jnp.nan])
LENGTHS = jnp.array([100, 120, 90, 80])
IDS = jnp.array([5, 5, 5, 5])
SCORED = jnp.ones(4, bool)
ADVANTAGES = grpo(CORRECT * 1.0, IDS, SCORED)


def test_the_papers_example():
  shaped = aspo(ADVANTAGES, CORRECT, USED, POSITIONS, LENGTHS, IDS, SCORED)
  np.testing.assert_allclose(shaped.advantages, [0.849998, 0.15, -1.499997, 0.499999], rtol=1e-5)
  # Not clipped: -2 (p - 35) / 110 for p = 10 and 60.
  shaped = aspo(ADVANTAGES, CORRECT, USED, POSITIONS, LENGTHS, IDS, SCORED, strength=0.95)
  np.testing.assert_allclose(shaped.bias, [2 * 25 / 110, -2 * 25 / 110, 0, 0], rtol=1e-5)


def test_signs_and_bounds():
  rng = np.random.default_rng(0)
  n = 40
  advantages, ids = rng.normal(size=n), np.arange(n) % 4
  args = rng.random(n) < 0.8, rng.random(n) < 0.8, rng.integers(0, 90, n), rng.integers(90, 200, n), ids, np.ones(n)
  shaped = aspo(*map(jnp.asarray, (advantages, *args)))
  np.testing.assert_array_equal(np.sign(shaped.advantages), np.sign(advantages))
  assert (np.abs(shaped.bias) <= 0.7 * np.abs(advantages) + 1e-6).all()
  assert (np.asarray(shaped.bias) != 0).sum() > n / 4


def test_delta_zero_and_too_few_eligible_rows_change_nothing():
  args = ADVANTAGES, CORRECT, USED, POSITIONS, LENGTHS, IDS, SCORED
  np.testing.assert_array_equal(aspo(*args, delta=0.0).advantages, ADVANTAGES)
  for eligible in (USED & (jnp.arange(4) == 0), jnp.zeros(4, bool)):
    shaped = aspo(ADVANTAGES, CORRECT, eligible, POSITIONS, LENGTHS, IDS, SCORED)
    np.testing.assert_array_equal(shaped.advantages, ADVANTAGES)
    np.testing.assert_array_equal(early_tool_reward(CORRECT, eligible, POSITIONS, IDS, SCORED), CORRECT)
  empty = aspo(ADVANTAGES, CORRECT, USED, POSITIONS, jnp.zeros(4), IDS, SCORED)
  assert np.isfinite(empty.advantages).all()


def test_in_a_group_all_correct_the_reward_form_punishes_late_calls_and_the_bias_does_not():
  correct = jnp.ones(4, bool)
  positions = jnp.array([1, 20, 30, 40])
  rewards = early_tool_reward(correct, correct, positions, IDS, SCORED)
  np.testing.assert_allclose(rewards, [1.5, 1.082628, 0.782162, 0.5], rtol=1e-5)
  assert (grpo(rewards, IDS, SCORED)[2:] < -0.4).all()
  shaped = aspo(grpo(correct * 1.0, IDS, SCORED), correct, correct, positions, LENGTHS, IDS, SCORED)
  assert not shaped.advantages.any()


def test_arrays_of_other_shapes_are_refused():
  with pytest.raises(ValueError, match=r"aspo: expected arrays of one shape \[B\]"):
    aspo(ADVANTAGES[:, None], CORRECT, USED, POSITIONS, LENGTHS, IDS, SCORED)


ROWS = {"correct": "B", "used_tool": "B", "positions": "B", "group_ids": "B", "mask": "B"}
# With six rows in two groups, some group must have two eligible rows, or every bias is 0.
DRAWS = {
  "correct": lambda rng, shape: rng.random(shape) < 0.8,
  "used_tool": lambda rng, shape: rng.random(shape) < 0.8,
}

KERNELS = [
  Kernel(aspo, {"advantages": "B", "lengths": "B", **ROWS}, scope="group", draws=DRAWS),
  Kernel(early_tool_reward, ROWS, scope="group", draws=DRAWS),
]
