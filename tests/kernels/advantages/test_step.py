from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import step
from rl_jax.kernels.advantages.group import reinforce_pp_baseline
from tests.kernels.kernel import Kernel

REWARDS, IDS, SCORED = jnp.array([1.0, 0.0]), jnp.array([7, 7]), jnp.array([True, True])
POTENTIALS = jnp.array([[-0.11, 0.9309, 0.97515, 0.97515], [-0.11, -0.46, -0.9115, jnp.nan]])
STEPS = jnp.array([[1, 1, 1, 1], [1, 1, 1, 0]])
STEP_IDS = jnp.array([[0, 0, 1, 2, 2, 3], [0, 1, 1, 2, -1, 3]])
TOKENS = jnp.array([[1] * 6, [1, 1, 1, 1, 0, 0]])
ARGS = REWARDS, IDS, SCORED, POTENTIALS, STEPS, STEP_IDS, TOKENS


def test_the_worked_example():
  expected = [
    [0.66405745, 0.66405745, 1.72582196, 0.44988871, 0.44988871, 0.32776789],
    [-0.89164178, -1.11169913, -1.11169913, -1.16644213, 0, 0],
  ]
  np.testing.assert_allclose(step.spae(*ARGS), expected, rtol=1e-5)


def test_only_earlier_steps_above_the_threshold_saturate():
  potentials = jnp.array([[0.9, 0.95, 0.2, 1.0, 0.0]])
  factors = step.saturation_factors(potentials, jnp.ones((1, 5)), alpha=1.0)
  np.testing.assert_allclose(factors, np.exp([[0, 0, -1, -1, -2]]), rtol=1e-6)


def test_shaping_is_centred_over_the_steps_of_the_batch():
  gains = step.potential_gains(POTENTIALS, STEPS)
  shaping = step.exponential_shaping(gains, STEPS)
  assert shaping.sum() == pytest.approx(0, abs=1e-6)
  assert np.argmax(shaping) == 1 and np.ptp(shaping[STEPS != 0]) == pytest.approx(np.e - 1, rel=1e-6)


def test_without_its_two_terms_it_is_the_reinforce_baseline():
  expected = reinforce_pp_baseline(REWARDS, IDS, SCORED, TOKENS)
  np.testing.assert_allclose(step.spae(*ARGS, alpha=0.0, xi=0.0), expected, rtol=1e-6)


def test_a_token_of_no_step_keeps_the_group_advantage():
  tokens = jnp.ones((2, 6))
  actual = step.spae(*ARGS[:-1], tokens, normalization="none")
  np.testing.assert_allclose(actual[1, 4:], -0.5)  # no step, and a step that does not exist
  without = step.spae(*ARGS[:4], jnp.zeros((2, 4)), STEP_IDS, tokens, normalization="none")
  np.testing.assert_allclose(without, [[0.5] * 6, [-0.5] * 6])


def test_degenerate_batches():
  same = jnp.ones(2)
  shaped = step.spae(same, *ARGS[1:], normalization="none")
  shaping = step.exponential_shaping(step.potential_gains(POTENTIALS, STEPS), STEPS)
  np.testing.assert_allclose(shaped[0], 0.5 * shaping[0, STEP_IDS[0]], rtol=1e-6)
  flat = step.spae(same, IDS, SCORED, jnp.full((2, 4), 0.3), *ARGS[4:])
  assert not flat.any()
  # An unscored row neither moves the range of the gains nor the mean.
  unscored = step.spae(jnp.array([1.0, jnp.nan]), IDS, jnp.array([True, False]), *ARGS[3:])
  alone = step.spae(*(x[:1] for x in ARGS))
  np.testing.assert_allclose(unscored, np.concatenate([alone, np.zeros((1, 6))]), rtol=1e-6)


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown normalization 'verl'; known: batch, none"):
    step.spae(*ARGS, normalization="verl")


POTENTIAL_AXES = {"potentials": "BS", "mask": "BS"}
SPAE = {
  "rewards": "B",
  "group_ids": "B",
  "mask": "B",
  "potentials": "BS",
  "step_mask": "BS",
  "step_ids": "BT",
  "token_mask": "BT",
}
COVERS = {"potentials": "step_mask", "step_ids": "token_mask"}

KERNELS = [
  Kernel(step.saturation_factors, POTENTIAL_AXES, {"threshold": 0.1}),
  Kernel(step.potential_gains, POTENTIAL_AXES),
  Kernel(step.exponential_shaping, {"gains": "BS", "mask": "BS"}, scope="batch"),
  Kernel(step.spae, SPAE, {"threshold": 0.1}, scope="batch", covers=COVERS),
  Kernel(step.spae, SPAE, {"threshold": 0.1, "normalization": "none"}, scope="batch"),
]
