from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.advantages.prior import fuse_prior, prior_baseline, v05
from tests.kernels.kernel import Kernel

REWARDS = jnp.array([1.0, 1.0, -1.0, 1.0, jnp.nan, 1.0, 1.0])
PRIORS = jnp.array([-0.6, -0.6, 0.3, -0.6, jnp.nan, -0.6, 0.3])
IDS = jnp.array([7, 7, -3, 7, 7, 7, -3])
SCORED = jnp.array([True, True, True, True, False, True, True])
ARGS = REWARDS, PRIORS, IDS, SCORED


def test_worked_example_and_a_prior_that_stands():
  fused = prior_baseline(*ARGS)
  np.testing.assert_allclose(fused.weight, [0.90234375, 0.90234375, 0, 0.90234375, 0, 0.90234375, 0], rtol=1e-6)
  np.testing.assert_allclose(fused.error[0], 0.225585938, rtol=1e-6)
  np.testing.assert_allclose(v05(*ARGS), [0.15625, 0.15625, -1.3, 0.15625, 0, 0.15625, 0.7], rtol=1e-6)
  assert fused.baseline[2] == PRIORS[2]  # exactly the prior
  assert fused.samples[2] == 2


def test_the_weight_minimises_the_estimated_error():
  mean, prior, noise = 0.4, -0.5, 0.25 / 3
  fused = fuse_prior(jnp.array(mean), jnp.array(3), jnp.array(prior), noise_variance=0.25)
  bias = (mean - prior) ** 2 - noise
  weights = np.linspace(0, 1, 2001)
  errors = weights**2 * noise + (1 - weights) ** 2 * bias
  assert fused.weight == pytest.approx(weights[np.argmin(errors)], abs=1e-3)
  assert fused.error == pytest.approx(errors.min(), rel=1e-5)


def test_without_noise_it_is_the_mean():
  np.testing.assert_allclose(v05(*ARGS, noise_variance=0.0), dr_grpo(REWARDS, IDS, SCORED), atol=1e-6)


def test_zero_one_rewards_with_their_variance_are_the_same_rewards_scaled():
  unit = v05((REWARDS + 1) / 2, (PRIORS + 1) / 2, IDS, SCORED, noise_variance=0.25)
  np.testing.assert_allclose(2 * unit, v05(*ARGS), atol=1e-6)


def test_without_samples_or_noise_nothing_divides_by_zero():
  unseen = fuse_prior(jnp.zeros(1), jnp.zeros(1, int), jnp.array([0.75]))
  np.testing.assert_array_equal(unseen, [[0], [0], [0], [0], [0.75], [0]])
  exact = fuse_prior(jnp.ones(1), jnp.array([4]), jnp.ones(1), noise_variance=0.0)
  np.testing.assert_array_equal(exact.baseline, [1])


ROWS = {"rewards": "B", "priors": "B", "group_ids": "B", "mask": "B"}
FUSED = {"mean": "B", "samples": "B", "prior": "B"}
UNIT = lambda rng, shape: rng.random(shape).astype("float32")
DRAWS = {"samples": lambda rng, shape: rng.integers(0, 9, shape).astype("int32")}

KERNELS = [
  Kernel(fuse_prior, FUSED, {"noise_variance": 0.25}, mask=None, draws=DRAWS),
  Kernel(prior_baseline, ROWS, scope="group"),
  Kernel(v05, ROWS, scope="group"),
]
