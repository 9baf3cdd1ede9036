from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import turn
from rl_jax.kernels.advantages.group import grpo
from tests.kernels.kernel import Kernel

REWARDS = jnp.array([[0.2, 0.1, 1.0], [-0.1, 0.0, 0.0], [0.3, 0.5, jnp.nan]])
IDS, TURNS = jnp.array([4, 4, 4]), jnp.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]])


def test_the_worked_example():
  joint = turn.igpo(REWARDS, IDS, TURNS, discount=0.9)
  separate = turn.igpo(REWARDS, IDS, TURNS, discount=0.9, mode="separate")
  np.testing.assert_allclose(
    joint,
    [[1.25964782, 1.56524285, 2.23606121], [-2.31805012, -1.41617210, -0.74535374], [0.81988911, 0.74535374, 0]],
    rtol=1e-5,
  )
  np.testing.assert_allclose(
    separate,
    [[1.69914249, 1.10226765, 1.22474183], [-3.04263554, -1.80936926, -1.22474183], [1.41420320, 0, 0]],
    rtol=1e-5,
    atol=1e-6,
  )


def test_rows_of_one_turn_are_grpo():
  rewards, ids, scored = jnp.array([1.0, 0.0, 0.25, 0.5, 0.5]), jnp.array([1, 1, 1, 2, 2]), jnp.ones(5, bool)
  actual = turn.igpo(rewards[:, None], ids, scored[:, None])
  np.testing.assert_allclose(actual[:, 0], grpo(rewards, ids, scored, ddof=0), rtol=1e-5)


def test_equal_outcomes_leave_the_gains():
  """Where GRPO has no gradient: all rows of the group fail."""
  rewards = REWARDS.at[:, 1:].set(jnp.array([[0.1, 0.0], [0.05, 0.0], [0.0, 0.0]]))
  normalized = turn.normalize_turn_rewards(rewards, IDS, TURNS, mode="separate")
  assert not normalized[:2, 2].any() and not normalized[2, 1].any()  # the last turn of each row
  assert (normalized[:, 0] != 0).all()


def test_the_weights_come_before_the_normalisation():
  weights = dict(outcome_weight=0.75, gain_weight=0.5)
  scaled = REWARDS * jnp.array([[0.5, 0.5, 0.75], [0.5, 0.5, 0.75], [0.5, 0.75, 1]])
  for mode in ("joint", "separate"):
    expected = turn.normalize_turn_rewards(scaled, IDS, TURNS, mode=mode)
    np.testing.assert_allclose(turn.normalize_turn_rewards(REWARDS, IDS, TURNS, mode=mode, **weights), expected)
  # Without the std, a weight is a plain factor of the separate sets.
  plain = turn.normalize_turn_rewards(REWARDS, IDS, TURNS, mode="separate", scale=False)
  weighted = turn.normalize_turn_rewards(REWARDS, IDS, TURNS, mode="separate", scale=False, **weights)
  np.testing.assert_allclose(weighted[0], plain[0] * jnp.array([0.5, 0.5, 0.75]), rtol=1e-5)


def test_degenerate_groups():
  # A constant group and a group of one turn give 0; so does a single gain beside several outcomes.
  rewards, ids = jnp.array([[0.1, 0.1], [0.1, 9.0], [5.0, 9.0]]), jnp.array([1, 1, 2])
  mask = jnp.array([[1, 1], [1, 0], [1, 0]])
  assert not turn.igpo(rewards, ids, mask).any()
  single = turn.normalize_turn_rewards(rewards.at[0, 0].set(7.0), ids, mask, mode="separate")
  assert not single.any()


# MT-GRPO. The rows' outcomes are 1, 0 and 0.5; their rewards of turn 0 are 0.2, -0.1 and 0.3, of turn 1 0.1 and 0.


def mt_grpo(**options):
  return np.asarray(turn.mt_grpo(REWARDS, IDS, TURNS, scale=False, **options))


def test_a_row_that_has_ended_earns_nothing():
  """Means 0.4 / 3 and 0.1 / 3, of all rows; also of row 2, of which turn 1 is the outcome."""
  outcomes, first, second = np.array([1, 0, 0.5]) - 0.5, np.array([0.2, -0.1, 0.3]), np.array([0.1, 0, 0])
  first, second = first - first.mean(), second - second.mean()
  expected = outcomes[:, None] + np.stack([first + second, second, 0 * second], axis=1)
  np.testing.assert_allclose(mt_grpo(), expected * TURNS, atol=1e-6)


def test_a_row_that_has_ended_is_skipped():
  """The mean of turn 1 is that of rows 0 and 1, and row 2 has no part in it."""
  outcomes, first, second = np.array([1, 0, 0.5]) - 0.5, np.array([0.2, -0.1, 0.3]), np.array([0.05, -0.05, 0])
  expected = outcomes[:, None] + 0.5 * np.stack([first - first.mean() + second, second, 0 * second], axis=1)
  np.testing.assert_allclose(mt_grpo(absent="skip", turn_weight=0.5) * TURNS, expected * TURNS, atol=1e-6)


def test_rewards_to_come_by_turn():
  """With discount 0.5 they are 0.5, 0.6, 1; -0.1, 0, 0; 0.55, 0.5."""
  to_come = np.array([[0.5, 0.6, 1], [-0.1, 0, 0], [0.55, 0.5, 0]])
  found = mt_grpo(estimate="cumulative", discount=0.5)
  np.testing.assert_allclose(found, (to_come - to_come.mean(axis=0)) * TURNS, atol=1e-6)
  found = mt_grpo(estimate="cumulative", discount=0.5, absent="skip")
  means = np.array([0.95 / 3, 1.1 / 3, 0.5])
  np.testing.assert_allclose(found, (to_come - means) * TURNS, atol=1e-6)


@pytest.mark.parametrize("estimate", turn.ESTIMATES)
@pytest.mark.parametrize("scale", [True, False])
def test_where_no_row_ends_before_the_others_nothing_is_absent(estimate, scale):
  """Two turns for all rows, as in the paper, and its formula: A^O, and on the first turn A^I beside it."""
  rewards, ids, mask = REWARDS[:, :2], IDS, TURNS[:, :2]
  zero, skip = (
    turn.mt_grpo(rewards, ids, mask, estimate=estimate, absent=absent, scale=scale) for absent in turn.ABSENT
  )
  np.testing.assert_allclose(zero, skip, atol=1e-6)
  if estimate == "additive":
    of = lambda x: grpo(x, ids, jnp.ones(3, bool), eps=1e-4, scale="group" if scale else "none")
    np.testing.assert_allclose(zero[:, 0], of(rewards[:, 1]) + of(rewards[:, 0]), atol=1e-6)
    np.testing.assert_allclose(zero[:, 1], of(rewards[:, 1]), atol=1e-6)


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown mode 'both'; known: joint, separate"):
    turn.igpo(REWARDS, IDS, TURNS, mode="both")
  with pytest.raises(ValueError, match="unknown absent 'one'; known: zero, skip"):
    mt_grpo(absent="one")
  with pytest.raises(ValueError, match="unknown estimate 'sum'; known: additive, cumulative"):
    mt_grpo(estimate="sum")


TURN_AXES = {"turn_rewards": "BS", "group_ids": "B", "mask": "BS"}

KERNELS = [
  Kernel(turn.normalize_turn_rewards, TURN_AXES, {"mode": "separate", "outcome_weight": 0.5}, scope="group"),
  Kernel(turn.normalize_turn_rewards, TURN_AXES, {"scale": False}, scope="group"),
  Kernel(turn.igpo, TURN_AXES, {"discount": 0.9}, scope="group"),
  Kernel(turn.mt_grpo, TURN_AXES, {"discount": 0.9}, scope="group"),
  Kernel(turn.mt_grpo, TURN_AXES, {"estimate": "cumulative", "absent": "skip"}, scope="group"),
]
