from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import checklist, group
from tests.kernels.kernel import Kernel
from tests.kernels.papers.as_released import cm2_step_sum

IDS, EVERY = jnp.array([7, 7, 7, 7]), jnp.ones(4, bool)
# The outcome of two items, the second of which depends on the first, and where each was eligible.
SATISFIED = jnp.array([[True, True], [True, False], [True, False], [False, False]])
ELIGIBLE = jnp.array(
  [
    [[True, False], [False, True], [False, True]],
    [[True, False], [True, False], [False, False]],
    [[True, False], [True, False], [False, False]],
    [[True, False], [False, False], [False, False]],
  ]
)
WEIGHTS = jnp.array([[0.4, 0.6]] * 4)
TAKEN = jnp.array([[1, 1, 1], [1, 1, 0], [1, 1, 0], [1, 0, 0]])


def step_advantages(counted=None, **options):
  counted = jnp.ones((4, 2)) if counted is None else counted
  return checklist.cm2_step(ELIGIBLE, SATISFIED, WEIGHTS, IDS, counted, TAKEN, **options)


def test_the_example_at_each_level():
  rewards = jnp.array([1.0, 0.4, 0.4, 0.0])
  expected = [0.55, -0.05, -0.05, -0.45]
  trajectory = group.grpo(rewards, IDS, EVERY, scale="none", singleton="zero")
  turn = checklist.cm2_turn(rewards[:, None], jnp.ones((4, 1)), IDS, EVERY)
  np.testing.assert_allclose(trajectory, expected, rtol=1e-6, atol=1e-7)
  np.testing.assert_allclose(turn[:, 0], expected, rtol=1e-6, atol=1e-7)
  step = step_advantages()
  np.testing.assert_allclose(step.baselines, [[0.75, 0.25]] * 4)
  np.testing.assert_allclose(
    step.advantages, [[0.25, 0.75, 0.75], [0.25, 0.25, 0], [0.25, 0.25, 0], [-0.75, 0, 0]], rtol=1e-6
  )


def test_baselines_over_who_attempted():
  attempted = jnp.array([[1, 1], [1, 1], [1, 1], [1, 0]])
  step = step_advantages(attempted)
  expected = np.array([[1 / 4, 2 / 3, 2 / 3], [1 / 4, 1 / 4, 0], [1 / 4, 1 / 4, 0], [-3 / 4, 0, 0]])
  np.testing.assert_allclose(step.advantages, expected, rtol=1e-6)
  # Three rows attempted the second item: with min_count 3 it is neutral.
  step = step_advantages(attempted, min_count=3)
  np.testing.assert_allclose(step.advantages[0], [0.25, 0, 0], rtol=1e-6)
  # The released code sums over the eligible items: weights 0.4 and 0.6.
  args = ELIGIBLE, SATISFIED, WEIGHTS, IDS, attempted, TAKEN
  weights = np.where(np.abs(expected) > 0.5, 0.6, 0.4)
  weights[3, 0] = 0.4
  np.testing.assert_allclose(cm2_step_sum(*args).advantages, expected * weights, rtol=1e-6)


def test_an_item_in_company_is_weighted():
  eligible = jnp.ones((2, 1, 2), bool)
  satisfied, weights = jnp.array([[True, False], [False, False]]), jnp.array([[0.2, 0.6]] * 2)
  step = checklist.cm2_step(eligible, satisfied, weights, IDS[:2], jnp.ones((2, 2)), jnp.ones((2, 1)))
  np.testing.assert_allclose(step.advantages, [[0.125], [-0.125]], rtol=1e-6)  # 0.2 (+-0.5) / 0.8


def test_turns_are_compared_among_those_that_reached_them():
  rewards = jnp.array([[1.0, 0.5], [0.0, jnp.nan], [0.0, 1.0], [0.0, 0.0]])
  reached = jnp.array([[1, 1], [1, 0], [1, 1], [1, 1]])
  valid = jnp.array([True, True, True, False])
  turn = checklist.cm2_turn(rewards, reached, IDS, valid)
  np.testing.assert_allclose(turn, [[2 / 3, -0.25], [-1 / 3, 0], [-1 / 3, 0.25], [0, 0]], rtol=1e-6)
  few = checklist.cm2_turn(rewards, reached, IDS, valid, min_count=2)
  np.testing.assert_allclose(few, turn * jnp.array([1, 0]), rtol=1e-6)


def test_nothing_to_compare_gives_zero():
  same = checklist.cm2_step(
    ELIGIBLE, jnp.ones((4, 2), bool), WEIGHTS, IDS, jnp.ones((4, 2)), TAKEN, scale="group", eps=0.0
  )
  assert not same.advantages.any()
  alone = checklist.cm2_turn(jnp.ones((4, 1)), jnp.ones((4, 1)), jnp.arange(4), EVERY)
  assert not alone.any()
  assert not step_advantages(jnp.zeros((4, 2))).advantages.any()


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown scale 'batch'; known: none, group"):
    checklist.cm2_turn(jnp.ones((4, 1)), jnp.ones((4, 1)), IDS, EVERY, scale="batch")


SIZES = {"L": 2, "C": 3}


def _binary(share):
  return lambda rng, shape: rng.random(shape) < share


DRAWS = {"eligible": _binary(0.6), "satisfied": _binary(0.5), "counted": _binary(0.7)}
STEPS = {
  "eligible": "BSC",
  "satisfied": "BC",
  "weights": "BC",
  "group_ids": "B",
  "counted": "BC",
  "step_mask": "BS",
}
TURNS = {"turn_rewards": "BL", "reached": "BL", "group_ids": "B", "mask": "B"}
_kernel = partial(Kernel, draws=DRAWS, sizes=SIZES)

KERNELS = [
  _kernel(checklist.cm2_turn, TURNS, scope="group"),
  _kernel(checklist.cm2_turn, TURNS, {"scale": "group", "min_count": 1}, scope="group"),
  _kernel(checklist.cm2_step, STEPS, mask="step_mask", scope="group", zero_masked=False),
  _kernel(
    checklist.cm2_step,
    STEPS,
    {"scale": "group"},
    mask="step_mask",
    scope="group",
    zero_masked=False,
  ),
]
