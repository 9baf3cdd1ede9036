from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages.outcome import verpo
from rl_jax.kernels.rewards import unit_tests
from tests.kernels.kernel import Kernel

PASSES = jnp.array([[[1, 1, 1, 0]], [[1, 1, 0, 0]], [[1, 0, 1, 0]], [[0, 1, 0, 1]]])
IDS = jnp.array([7, 7, 7, 7])
TURNS, TESTS = jnp.ones((4, 1), bool), jnp.ones((4, 4), bool)
WEIGHTS = [0.109166599265, 0.109166599265, 0.325035876891, 0.580998457684]


def test_worked_example():
  tests = unit_tests.unit_test_weights(PASSES, IDS, TURNS, TESTS)
  np.testing.assert_allclose(tests.pass_rates[2], [0.75, 0.75, 0.5, 0.25])
  np.testing.assert_allclose(tests.densities[2], [2.043940660, 2.043940660, 1.131810801, 1.043944387], rtol=1e-6)
  np.testing.assert_allclose(tests.weights, [WEIGHTS] * 4, rtol=1e-6)
  turns = unit_tests.weighted_passes(PASSES, tests.weights, TURNS)
  np.testing.assert_allclose(turns[:, 0], [0.543369075, 0.218333199, 0.434202476, 0.690165057], rtol=1e-6)
  outcome = unit_tests.full_pass_outcome(PASSES, TURNS, TESTS)
  assert not outcome.rewards.any()
  result = verpo(turns, outcome.discounted, IDS, TURNS)
  np.testing.assert_allclose(result.advantages[:, 0], [0.071851624, -0.253184253, -0.037314976, 0.218647605], rtol=1e-5)


def test_two_prompts_with_different_numbers_of_tests():
  """Each prompt is as if alone: masked tests neither weigh nor fail the outcome."""
  passes = jnp.concatenate([PASSES, jnp.array([[[1, 1, 0, 0]], [[0, 1, 0, 0]]])])
  tests = jnp.concatenate([TESTS, jnp.array([[1, 1, 0, 0], [1, 1, 0, 0]], bool)])
  ids, turns = jnp.array([7, 7, 7, 7, -2, -2]), jnp.ones((6, 1), bool)
  both = unit_tests.unit_test_weights(passes, ids, turns, tests)
  np.testing.assert_allclose(both.weights[:4], [WEIGHTS] * 4, rtol=1e-6)
  near = np.exp(-(0.5**2) / (2 * 0.1**2))
  np.testing.assert_allclose(both.weights[4], [np.exp(-1) / (1 + near), np.exp(-2) / (1 + near), 0, 0], rtol=1e-5)
  shares = unit_tests.unit_test_weights(passes, ids, turns, tests, kind="pass_rate").weights
  assert shares[4].tolist() == [0.5, 0.5, 0, 0]
  assert unit_tests.full_pass_outcome(passes, turns, tests).rewards.tolist() == [0, 0, 0, 0, 1, 0]


def test_only_the_last_executed_turn_is_the_outcome():
  passes = jnp.array([[[1], [0], [1]], [[0], [1], [1]], [[1], [1], [1]]])
  turns, tests = jnp.array([[1, 1, 0], [1, 1, 1], [0, 0, 0]]), jnp.ones((3, 1))
  outcome = unit_tests.full_pass_outcome(passes, turns, tests, discount=0.5)
  np.testing.assert_allclose(outcome.rewards, [0, 1, 0])
  np.testing.assert_allclose(outcome.discounted, [0, 0.125, 0])
  assert not unit_tests.full_pass_outcome(passes, turns, jnp.zeros((3, 1))).rewards.any()


def test_reductions():
  alike = jnp.ones((4, 1, 4))  # one pass rate: the weights share exp(-alpha rho)
  weights = unit_tests.unit_test_weights(alike, IDS, TURNS, TESTS, delta=0.0).weights
  np.testing.assert_allclose(weights.sum(axis=1), np.full(4, np.exp(-2)), rtol=1e-6)
  flat = unit_tests.unit_test_weights(PASSES, IDS, TURNS, TESTS, alpha=0.0, kind="difficulty").weights
  assert (flat == 1).all()


def test_an_unknown_kind_lists_the_known():
  with pytest.raises(ValueError, match="unknown kind 'hard'; known: verpo, difficulty, density, pass_rate"):
    unit_tests.unit_test_weights(PASSES, IDS, TURNS, TESTS, kind="hard")


BINARY = {"passes": lambda rng, shape: (rng.random(shape) < 0.7).astype("float32")}
TEST_AXES = {"passes": "BSK", "group_ids": "B", "turn_mask": "BS", "test_mask": "BK"}


def _weights(**options):
  return Kernel(
    unit_tests.unit_test_weights,
    TEST_AXES,
    options,
    mask="turn_mask",
    scope="group",
    zero_masked=False,
    draws=BINARY,
  )


KERNELS = [
  _weights(),
  _weights(kind="pass_rate"),
  Kernel(unit_tests.weighted_passes, {"passes": "BSK", "weights": "BK", "turn_mask": "BS"}, mask="turn_mask"),
  Kernel(
    unit_tests.full_pass_outcome,
    {"passes": "BSK", "turn_mask": "BS", "test_mask": "BK"},
    mask="turn_mask",
    draws=BINARY,
  ),
]
