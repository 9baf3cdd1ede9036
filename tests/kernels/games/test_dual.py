from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.games.convexity import convex_envelope
from rl_jax.kernels.games.dual import dual_backup, dual_terminal
from tests.kernels.kernel import Kernel, quick_jit
from tests.kernels.numerics import finite_difference

RNG = np.random.default_rng(0)
P_HAT, DUALS, VALUES = RNG.normal(size=2), RNG.normal(size=(3, 2)), RNG.normal(size=3)


def test_the_terminal_value_is_the_conjugate_of_the_expected_cost():
  costs, beliefs = np.array([0.4, -1.3]), np.linspace(0, 1, 101)
  conjugate = [(p * (P_HAT[0] - costs[0]) + (1 - p) * (P_HAT[1] - costs[1])) for p in beliefs]
  np.testing.assert_allclose(dual_terminal(jnp.asarray(P_HAT), jnp.asarray(costs)), max(conjugate), rtol=1e-6)


def test_a_function_and_its_envelope_have_one_conjugate():
  """What player 2 finds in the dual game does not need the splitting of player 1."""
  grid, values = np.linspace(0, 1, 21), RNG.normal(size=21)
  envelope = np.asarray(convex_envelope(jnp.asarray(values), jnp.asarray(grid)).values)
  for slope in (-3.0, 0.0, 0.7, 5.0):
    np.testing.assert_allclose((slope * grid - values).max(), (slope * grid - envelope).max(), atol=1e-6)


def test_constraints_that_hold_cost_nothing():
  weights = np.array([0.5, 0.3, 0.2])
  free = dual_backup(jnp.asarray(weights @ DUALS), *(jnp.asarray(x) for x in (weights, DUALS, VALUES)))
  np.testing.assert_allclose(free, weights @ VALUES, atol=1e-4)
  tilted = np.array([0.7, 0.5, -0.2])
  found = dual_backup(jnp.asarray(tilted @ DUALS), *(jnp.asarray(x) for x in (tilted, DUALS, VALUES)))
  np.testing.assert_allclose(found, tilted @ VALUES + 8 * 0.2, atol=1e-4)


def test_gradient_against_loops():
  weights = np.array([0.5, 0.3, 0.2])

  def reference(duals):
    apart = P_HAT - weights @ duals
    return weights @ (VALUES + duals[:, 0]) + 8 * np.sqrt(apart @ apart + 1e-12)

  def value(duals):
    return dual_backup(jnp.asarray(P_HAT), jnp.asarray(weights), duals, jnp.asarray(VALUES) + duals[:, 0])

  with jax.enable_x64(True):
    gradient = quick_jit(jax.grad(value))(DUALS)
  np.testing.assert_allclose(gradient, finite_difference(reference, DUALS), atol=1e-7)


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"duals \[... J I\], got \(2,\), \(3,\), \(3,\) and \(2, 2\)"):
    dual_backup(jnp.ones(2), jnp.ones(3), jnp.ones((2, 2)), jnp.ones(3))


SIZES = {"I": 2, "J": 3}

KERNELS = [
  Kernel(dual_terminal, {"p_hat": "BI", "costs": "BI"}, mask=None, gradients=("p_hat",), sizes=SIZES),
  Kernel(
    dual_backup,
    {"p_hat": "BI", "weights": "BJ", "duals": "BJI", "next_values": "BJ"},
    mask=None,
    gradients=("duals", "next_values"),
    sizes=SIZES,
  ),
]
