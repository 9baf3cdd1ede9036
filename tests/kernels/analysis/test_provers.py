from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.analysis import provers
from rl_jax.kernels.rewards.process import best_of_k_values
from tests.kernels.kernel import Kernel


def test_diagnostics_by_hand():
  probabilities = jnp.array([[0.25, 0.75, 0.0], [0.0, 0.0, 0.0]])
  prover, base = jnp.array([[2.0, -2.0, jnp.nan]] * 2), jnp.array([[1.0, 0.0, jnp.inf]] * 2)
  result = provers.prover_diagnostics(probabilities, prover, base)
  # Mean -1, variance 0.25 * 9 + 0.75 * 1.
  np.testing.assert_allclose(result.distinguishability, [3, 0])
  np.testing.assert_allclose(result.alignment, [0.5, 0])
  np.testing.assert_allclose(result.bound, [3.5, 0])


def test_best_of_k_tells_apart_actions_that_rarely_succeed():
  """Remark 3.1: for success probabilities of order 1 / k, the variance grows by order k^2."""
  k, pi = 8, jnp.array([[0.5, 0.5]])
  q = jnp.array([[0.2, 0.6]]) / k

  def distinguishability(q):
    advantages = q - (pi * q).sum()
    return provers.prover_diagnostics(pi, advantages, advantages).distinguishability.item()

  assert distinguishability(best_of_k_values(q, jnp.ones((1, 2)), k=k)) > k**2 / 3 * distinguishability(q)


def test_update_is_proportional_and_a_constant_changes_nothing():
  pi, q = jnp.array([[0.2, 0.5, 0.3]]), jnp.array([[1.0, 0.5, 0.0]])
  advantages = jnp.array([[0.0, 1.0, 0.5]])
  weights = np.array([0.2, 0.5, 0.3]) * np.exp(0.5 * (np.array([1.0, 0.5, 0.0]) + 2 * np.array([0.0, 1.0, 0.5])))
  update = provers.natural_policy_gradient(pi, q, advantages, learning_rate=0.5, alpha=2.0)
  np.testing.assert_allclose(update, [weights / weights.sum()], rtol=1e-6)
  shifted = provers.natural_policy_gradient(pi, q + 7, advantages, learning_rate=0.5, alpha=2.0)
  np.testing.assert_allclose(shifted, update, rtol=1e-5)
  np.testing.assert_allclose(provers.natural_policy_gradient(pi, q, advantages, learning_rate=0.0), pi, rtol=1e-6)


def _probabilities(rng, shape):
  """Some actions impossible, and the last state without any."""
  weights = rng.random(shape) * (rng.random(shape) < 0.75)
  weights[-1] = 0
  return weights.astype(np.float32)


STATES = dict(mask="probabilities", covers={"probabilities": ""}, draws={"probabilities": _probabilities})

KERNELS = [
  Kernel(
    provers.prover_diagnostics,
    {"probabilities": "BV", "prover_advantages": "BV", "base_advantages": "BV"},
    **STATES,
  ),
  Kernel(
    provers.natural_policy_gradient,
    {"probabilities": "BV", "values": "BV", "advantages": "BV"},
    {"learning_rate": 0.5},
    **STATES,
  ),
]
