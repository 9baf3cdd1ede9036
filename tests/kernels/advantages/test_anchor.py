from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.anchor import gigpo
from rl_jax.kernels.advantages.group import dr_grpo, grpo
from tests.kernels.kernel import Kernel

# Two rows begin in state 0; row 0 comes back to it, row 1 goes on to an unknown one; row 2 has one turn, in state 5.
REWARDS = jnp.array([[0.0, 0.0, 1.0], [0.5, 0.0, jnp.nan], [0.25, jnp.nan, jnp.nan]])
STATES = jnp.array([[0, 3, 0], [0, -1, 0], [5, 0, 0]])
IDS, MASK = jnp.array([4, 4, 4]), jnp.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])


def test_by_hand():
  """Returns from state 0 are 0.25, 1 and 0.5, of which two are row 0's; the others have no anchor to compare with."""
  estimate = gigpo(REWARDS, STATES, IDS, MASK, discount=0.5, step_weight=2.0)
  step = np.array([[0.25 - 1.75 / 3, 0, 1 - 1.75 / 3], [0.5 - 1.75 / 3, 0, 0], [0, 0, 0]])
  np.testing.assert_allclose(estimate.step, step, atol=1e-6)
  np.testing.assert_array_equal(estimate.counts, [[3, 1, 3], [3, 0, 0], [1, 0, 0]])
  episodes = (np.array([1, 0.5, 0.25]) - 1.75 / 3)[:, None] * np.asarray(MASK)
  np.testing.assert_allclose(estimate.advantages, episodes + 2 * step, atol=1e-6)


def test_other_rows_by_hand():
  """A row that comes back is not its own baseline, and turns without another row keep their return."""
  estimate = gigpo(REWARDS, STATES, IDS, MASK, discount=0.5, normalization="leave_one_out")
  step = np.array([[0.25 - 0.5, 0.5, 1 - 0.5], [0.5 - 0.625, 0, 0], [0.25, 0, 0]])
  np.testing.assert_allclose(estimate.step, step, atol=1e-6)
  episodes = np.array([1 - 0.375, 0.5 - 0.625, 0.25 - 0.75])[:, None] * np.asarray(MASK)
  np.testing.assert_allclose(estimate.advantages, episodes + step, atol=1e-6)


def test_reductions():
  """Without steps it is Dr.GRPO; with turns that all begin in one state, GRPO of returns, as one group."""
  scored = jnp.ones(3, bool)
  totals = jnp.array([1.0, 0.5, 0.25])
  plain = gigpo(REWARDS, STATES, IDS, MASK, step_weight=0.0).advantages
  np.testing.assert_allclose(plain, dr_grpo(totals, IDS, scored)[:, None] * MASK, atol=1e-6)
  first = gigpo(REWARDS[:, :1], jnp.zeros((3, 1), int), IDS, MASK[:, :1], normalization="std").step
  np.testing.assert_allclose(first[:, 0], grpo(REWARDS[:, 0], IDS, scored), atol=1e-6)


def test_anchors_of_different_prompts_do_not_meet():
  apart = gigpo(REWARDS, STATES, jnp.array([4, -4, 0]), MASK)
  np.testing.assert_array_equal(apart.counts, [[2, 1, 2], [1, 0, 0], [1, 0, 0]])
  assert not apart.step[1:].any()


@pytest.mark.parametrize("normalization", ["none", "std", "leave_one_out"])
def test_a_row_whose_peers_have_no_verdict_is_its_own_mean(normalization):
  rows = REWARDS, jnp.full((3, 3), -1), IDS, MASK.at[1:].set(0)
  alone = gigpo(*rows, normalization=normalization, singleton="zero")
  np.testing.assert_array_equal(alone.advantages, 0)
  raw = gigpo(*rows, normalization=normalization)
  np.testing.assert_allclose(raw.advantages, [[1, 1, 1], [0, 0, 0], [0, 0, 0]], atol=1e-5)


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown normalization 'loo'; known: none, std, leave_one_out"):
    gigpo(REWARDS, STATES, IDS, MASK, normalization="loo")


AXES = {"turn_rewards": "BS", "states": "BS", "group_ids": "B", "mask": "BS"}
DRAWS = {"states": lambda rng, shape: rng.integers(-1, 3, shape).astype("int32")}

KERNELS = [
  Kernel(gigpo, AXES, scope="group", draws=DRAWS),
  Kernel(gigpo, AXES, {"normalization": "leave_one_out"}, scope="group", draws=DRAWS),
]
