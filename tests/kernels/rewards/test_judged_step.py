from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards.judged_step import judged_step_reward
from tests.kernels.kernel import Kernel

REASONING, ACTION = jnp.array([1, 0, -1, 1, 0]), jnp.array([1, 1, 0, 1, -1])
ANSWERS = jnp.array([0, 0, 0, 1, 1])
STEPS, MASK = jnp.ones(5, jnp.int32), jnp.ones(5, bool)


def test_an_early_answer_earns_more():
  expected = {1: [2.075, -0.925], 3: [2.025, -0.975], 4: [2.0, -1.0]}
  for step, answers in expected.items():
    rewards = judged_step_reward(REASONING, ACTION, ANSWERS, step * STEPS, MASK)
    np.testing.assert_allclose(rewards, [2, 1, -1, *answers], rtol=1e-6)


def test_rows_that_are_no_candidates_and_an_impossible_budget():
  rewards = judged_step_reward(REASONING, ACTION, ANSWERS, STEPS, MASK.at[3].set(False))
  np.testing.assert_allclose(rewards, [2, 1, -1, 0, -0.925], rtol=1e-6)
  with pytest.raises(ValueError, match="expected a budget of at least 1 step, got 0"):
    judged_step_reward(REASONING, ACTION, ANSWERS, STEPS, MASK, budget=0)


STEP_AXES = {"reasoning_scores": "B", "action_scores": "B", "is_answer": "B", "steps": "B", "mask": "B"}

KERNELS = [
  Kernel(
    judged_step_reward,
    STEP_AXES,
    draws={
      "is_answer": lambda rng, shape: rng.random(shape) < 0.5,
      "steps": lambda rng, shape: rng.integers(1, 5, shape, np.int32),
    },
  ),
]
