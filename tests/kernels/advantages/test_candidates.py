from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import candidates
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import masked_mean, per_token
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference

REWARDS = jnp.array([2.0, 1.0, -1.0, 2.075, -0.925])
IDS, VALID = jnp.full(5, 7), jnp.ones(5, bool)


def test_the_worked_example():
  advantages = candidates.slate(REWARDS, IDS, VALID)
  np.testing.assert_allclose(advantages, [0.90449428, 0.24427948, -1.07615013, 0.95401039, -1.02663402], rtol=1e-5)
  probabilities = candidates.commit_probabilities(advantages, IDS, VALID)
  np.testing.assert_allclose(probabilities, [0.38683125, 0.15062970, 0.02283962, 0.41518569, 0.02451374], rtol=1e-5)


def test_a_low_temperature_goes_to_the_best_without_overflow():
  advantages = jnp.array([3.0, 500.0, 499.0, -1.0, 7.0])
  ids = jnp.array([7, 7, 7, -2, -2])
  for temperature in (1e-3, 0.0):
    probabilities = candidates.commit_probabilities(advantages, ids, VALID, temperature=temperature)
    np.testing.assert_allclose(probabilities, [0, 1, 0, 0, 1])


def test_ties_of_the_best_go_to_the_first_valid_row():
  rewards, mask = jnp.array([0.0, 9.0, 2.0, 2.0, 2.0]), VALID.at[1].set(False)
  greedy = candidates.commit_probabilities(rewards, IDS, mask, temperature=0.0)
  np.testing.assert_array_equal(greedy, [0, 0, 1, 0, 0])


def test_degenerate_groups():
  ids, mask = jnp.array([1, 1, 2, 3, 3]), jnp.array([True, True, True, False, False])
  # Equal rewards, a single candidate, a prefix without candidates.
  rewards = jnp.array([0.1, 0.1, 2.0, jnp.nan, jnp.inf])
  assert not candidates.slate(rewards, ids, mask).any()
  np.testing.assert_allclose(candidates.commit_probabilities(jnp.zeros(5), ids, mask), [0.5, 0.5, 1, 0, 0])
  assert not candidates.commit_probabilities(rewards, ids, mask, temperature=0.0)[3:].any()
  np.testing.assert_allclose(candidates.candidate_weights(ids, mask), [0.5, 0.5, 1, 0, 0])


def test_the_objective_counts_each_step_once_and_has_the_gradient_of_its_equation():
  rng = np.random.default_rng(0)
  logprobs, old = rng.normal(size=(5, 4)), rng.normal(size=(5, 4))
  ids, advantages = np.array([7, 7, 7, 9, 9]), rng.normal(size=5)
  tokens = (rng.random((5, 4)) < 0.8) | (np.arange(4) == 0)

  def equation(x):
    total = 0.0
    for step in (7, 9):
      rows = np.flatnonzero(ids == step)
      for j in rows:
        ratio = np.exp(x[j] - old[j])[tokens[j]]
        total += np.minimum(ratio * advantages[j], np.clip(ratio, 0.8, 1.2) * advantages[j]).mean() / len(rows)
    return -total

  def composed(x):
    losses = policy_gradient(x, jnp.array(old), per_token(jnp.array(advantages), tokens), tokens).losses
    weights = candidates.candidate_weights(jnp.array(ids), VALID)
    return masked_mean(masked_mean(losses, tokens, axis=1).value, weights)

  with jax.enable_x64(True):
    steps = composed(jnp.array(logprobs))
    np.testing.assert_allclose(steps.sum, equation(logprobs), rtol=1e-12)
    np.testing.assert_allclose(steps.value, equation(logprobs) / 2, rtol=1e-12)
    gradient = jax.grad(lambda x: composed(x).sum)(jnp.array(logprobs))
  np.testing.assert_allclose(gradient, finite_difference(equation, logprobs), rtol=1e-6, atol=1e-8)


ROWS = {"advantages": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(candidates.slate, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(candidates.commit_probabilities, ROWS, scope="group"),
  Kernel(candidates.commit_probabilities, ROWS, {"temperature": 0.0}, scope="group"),
  Kernel(candidates.candidate_weights, {"group_ids": "B", "mask": "B"}, scope="group"),
]
