from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.off_policy import vtrace
from rl_jax.kernels.advantages.returns import gae
from tests.kernels.kernel import Kernel, quick_jit

RNG = np.random.default_rng(0)
REWARDS, VALUES = RNG.normal(size=(2, 3, 6))
RATIOS, MASK = np.exp(RNG.normal(size=(3, 6))), np.array([[1, 1, 0, 1, 1, 1], [1] * 6, [0] * 6])
DONES = np.array([[0, 0, 0, 1, 0, 0], [0, 0, 0, 0, 0, 1], [0] * 6])


def loops(discount, bootstrap=None, max_ratio=1.0, max_trace=1.0):
  """As the definition has it, over the unmasked slots of each row."""
  advantages, targets = np.zeros((3, 6)), np.zeros((3, 6))
  for b in range(2):
    slots = np.flatnonzero(MASK[b])
    last = slots[-1]
    next_value = (VALUES[b, last] - REWARDS[b, last]) / discount if bootstrap is None else bootstrap[b]
    next_target = next_value
    for t in slots[::-1]:
      g, rho = discount * (1 - DONES[b, t]), min(max_ratio, RATIOS[b, t])
      delta = rho * (REWARDS[b, t] + g * next_value - VALUES[b, t])
      advantages[b, t] = rho * (REWARDS[b, t] + g * next_target - VALUES[b, t])
      targets[b, t] = VALUES[b, t] + delta + g * min(max_trace, RATIOS[b, t]) * (next_target - next_value)
      next_value, next_target = VALUES[b, t], targets[b, t]
  return advantages, targets


def estimate(ratios=RATIOS, **options):
  arrays = REWARDS, VALUES, ratios, DONES, MASK
  return vtrace(*(jnp.asarray(x) for x in arrays), **options)


@pytest.mark.parametrize("options", [{}, {"max_ratio": 2.0, "max_trace": 0.5}])
@pytest.mark.parametrize("bootstrap", [None, np.array([0.5, -1.0, 3.0])])
def test_against_loops(options, bootstrap):
  with jax.enable_x64(True):
    found = quick_jit(lambda: estimate(discount=0.9, bootstrap=bootstrap, **options))()
  for actual, expected in zip(found, loops(0.9, bootstrap, **options), strict=True):
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_on_policy_it_is_gae_with_lambda_1():
  bootstrap = jnp.array([0.5, -1.0, 3.0])
  with jax.enable_x64(True):
    rewards, values, ones = jnp.asarray(REWARDS), jnp.asarray(VALUES), jnp.ones((3, 6))
    found = vtrace(rewards, values, ones, 0 * ones, jnp.asarray(MASK), discount=0.9, bootstrap=bootstrap)
    expected = gae(rewards, values, jnp.asarray(MASK), discount=0.9, bootstrap=bootstrap)
  for actual, reference in zip(found, expected, strict=True):
    np.testing.assert_allclose(actual, reference, atol=1e-12)


def test_the_last_step_of_a_chunk_teaches_nothing_unless_it_is_done():
  advantages = np.asarray(estimate(discount=0.9).advantages)
  assert abs(advantages[0, 5]) < 1e-6 and abs(advantages[1, 5]) > 0.1


def test_an_episode_ends_what_comes_before():
  later = REWARDS.copy()
  later[0, 4:] += 10
  found = vtrace(*(jnp.asarray(x) for x in (later, VALUES, RATIOS, DONES, MASK)))
  np.testing.assert_allclose(found.targets[0, :4], estimate().targets[0, :4], rtol=1e-6)


def test_a_discount_of_nothing_needs_a_bootstrap():
  with pytest.raises(ValueError, match="discount 0.0 needs a bootstrap"):
    estimate(discount=0.0)
  found = estimate(discount=0.0, bootstrap=jnp.ones(3), ratios=np.ones((3, 6)))
  np.testing.assert_allclose(found.advantages, np.where(MASK, REWARDS - VALUES, 0), atol=1e-6)


KERNELS = [
  Kernel(
    vtrace,
    dict.fromkeys(("rewards", "values", "ratios", "dones", "mask"), "BT"),
    draws={
      "ratios": lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32),
      "dones": lambda rng, shape: rng.random(shape) < 0.3,
    },
  )
]
