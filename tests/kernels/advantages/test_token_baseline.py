from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.advantages.token_baseline import optimal_token_baseline
from tests.kernels.kernel import Kernel

# Energies 1 - 2 pi + sum pi^2 of 0.5 and 0.25, in rows of two and three tokens with a gap in the second.
LOGPROBS = jnp.log(jnp.array([[0.5, 0.5, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]]))
COLLISIONS = jnp.array([[0.5, 0.5, jnp.nan, jnp.nan], [0.25, jnp.nan, 0.25, 0.25]])
MASK = jnp.array([[1, 1, 0, 0], [1, 0, 1, 1]])
REWARDS = jnp.array([[0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.25]])
ARGS = REWARDS, LOGPROBS, COLLISIONS, jnp.array([4, 4]), MASK


def test_by_hand():
  """W of the rows is (0.5, 1) and (0.25, 0.5, 0.75); the n-th tokens are baselined by (2 * 1 + 0.25) / 3 = 0.75."""
  np.testing.assert_allclose(optimal_token_baseline(*ARGS), [[0.25, 0.25, 0, 0], [-0.5, 0, -0.5, 0]], rtol=1e-6)
  tail = optimal_token_baseline(*ARGS, zero_tail=True)
  np.testing.assert_allclose(tail, [[0.25, 0.25, 0, 0], [-0.5, 0, -0.5, 0.25]], rtol=1e-6)


def test_slots_by_hand():
  """Slots 1, 2 and 3 have one row's token each."""
  slots = optimal_token_baseline(*ARGS, align="slot")
  np.testing.assert_allclose(slots, [[0.25, 0, 0, 0], [-0.5, 0, 0, 0]], atol=1e-6)
  zero = optimal_token_baseline(*ARGS, align="slot", zero_tail=True)
  np.testing.assert_allclose(zero, [[0.25, 1, 0, 0], [-0.5, 0, 0.25, 0.25]], atol=1e-6)


def test_equal_energies_and_lengths_give_the_mean_of_the_group():
  rng = np.random.default_rng(0)
  rewards, ids, shape = jnp.array(rng.normal(size=6)), jnp.array([1, 1, 1, 2, 2, 2]), (6, 4)
  dense = jnp.zeros(shape).at[:, -1].set(rewards)
  actual = optimal_token_baseline(dense, jnp.log(jnp.full(shape, 0.5)), jnp.full(shape, 0.5), ids, jnp.ones(shape))
  expected = np.repeat(np.asarray(dr_grpo(rewards, ids, jnp.ones(6, bool)))[:, None], 4, axis=1)
  np.testing.assert_allclose(actual, expected, atol=1e-6)


def test_the_energy_is_the_squared_gradient_by_the_logits():
  logits = jax.random.normal(jax.random.key(0), (7,))
  probabilities = jax.nn.softmax(logits)
  gradient = jax.grad(lambda z: jax.nn.log_softmax(z)[2])(logits)
  energy = 1 - 2 * probabilities[2] + jnp.square(probabilities).sum()
  np.testing.assert_allclose(energy, jnp.square(gradient).sum(), rtol=1e-5)


def test_degenerate_groups():
  """A row alone keeps its return; so do tokens of which nothing could be learned, as they are certain."""
  alone = optimal_token_baseline(*ARGS[:3], jnp.array([4, 5]), MASK)
  np.testing.assert_allclose(alone, [[1, 1, 0, 0], [0.25, 0, 0.25, 0.25]])
  certain = optimal_token_baseline(REWARDS, 0 * LOGPROBS, jnp.ones((2, 4)), jnp.array([4, 4]), MASK)
  np.testing.assert_allclose(certain, [[1, 1, 0, 0], [0.25, 0, 0.25, 0.25]])
  assert not optimal_token_baseline(*ARGS[:4], 0 * MASK).any()


def test_an_unknown_option_lists_the_known():
  with pytest.raises(ValueError, match="unknown align 'turn'; known: token, slot"):
    optimal_token_baseline(*ARGS, align="turn")


AXES = {"token_rewards": "BT", "logprobs": "BT", "collisions": "BT", "group_ids": "B", "mask": "BT"}
KERNELS = [
  Kernel(optimal_token_baseline, AXES, scope="group", moves="BT"),
  Kernel(optimal_token_baseline, AXES, {"align": "slot", "zero_tail": True}, scope="group", moves="BT"),
  Kernel(
    lambda token_rewards, logprobs, collisions, group_ids, mask, importance: optimal_token_baseline(
      token_rewards, logprobs, collisions, group_ids, mask, weights=importance
    ),
    {**AXES, "importance": "BT"}, scope="group", moves="BT", public=optimal_token_baseline,
  ),
]  # fmt: skip
