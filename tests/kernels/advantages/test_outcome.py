from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import group, outcome
from tests.kernels.kernel import Kernel

REWARDS = jnp.array([[0.5, 0.0], [1.0, jnp.nan], [2.0, jnp.nan], [jnp.inf, jnp.nan]])
OUTCOMES = jnp.array([0.0, 0.9, 0.5, 7.0])
IDS = jnp.array([7, 7, -3, -3])
TURNS = jnp.array([[1, 1], [1, 0], [1, 0], [0, 0]])


def test_turns_and_outcomes_have_their_own_means():
  result = outcome.verpo(REWARDS, OUTCOMES, IDS, TURNS, beta=2.0)
  np.testing.assert_allclose(result.turn, [[0, -0.5], [0.5, 0], [0, 0], [0, 0]])
  np.testing.assert_allclose(result.outcome, [-0.45, 0.45, 0, 0], rtol=1e-6)  # a row without turns does not count
  np.testing.assert_allclose(result.advantages, [[-0.45, -1.45], [1.45, 0], [0, 0], [0, 0]], rtol=1e-6)


def test_scale_divides_each_part_by_its_own_std():
  result = outcome.verpo(REWARDS, OUTCOMES, IDS, TURNS, scale="group", eps=0.0)
  np.testing.assert_allclose(result.turn[:2], [[0, -1], [1, 0]], atol=1e-6)
  np.testing.assert_allclose(result.outcome[:2], np.array([-1, 1]) / np.sqrt(2), rtol=1e-6)


def test_beta_zero_is_dr_grpo_on_the_outcome():
  result = outcome.verpo(REWARDS, OUTCOMES, IDS, TURNS, beta=0.0)
  expected = group.dr_grpo(OUTCOMES, IDS, TURNS.any(axis=1), singleton="zero")
  np.testing.assert_allclose(result.advantages, expected[:, None] * TURNS, rtol=1e-6)


def test_degenerate_groups_look_past_rounding_and_masked_turns():
  advantages = jnp.array([[1e-8, -1e-8], [0.0, 9.0], [0.0, 0.5], [-0.5, 0.0]])
  degenerate = outcome.degenerate_groups(advantages, IDS, jnp.array([[1, 1], [1, 0], [1, 1], [1, 1]]))
  assert degenerate.tolist() == [True, True, False, False]


def test_an_unknown_scale_lists_the_known():
  with pytest.raises(ValueError, match="unknown scale 'std'; known: none, group"):
    outcome.verpo(REWARDS, OUTCOMES, IDS, TURNS, scale="std")
  with pytest.raises(ValueError, match=r"expected arrays of one shape \[B S\]"):
    outcome.verpo(REWARDS, OUTCOMES, IDS, TURNS[:, :1])


TURN_AXES = {"turn_rewards": "BS", "outcomes": "B", "group_ids": "B", "turn_mask": "BS"}

KERNELS = [
  Kernel(outcome.verpo, TURN_AXES, {"beta": 0.5}, mask="turn_mask", scope="group"),
  Kernel(outcome.verpo, TURN_AXES, {"scale": "group"}, mask="turn_mask", scope="group"),
  Kernel(
    outcome.degenerate_groups,
    {"advantages": "BS", "group_ids": "B", "turn_mask": "BS"},
    mask="turn_mask",
    scope="group",
    zero_masked=False,
  ),
]
