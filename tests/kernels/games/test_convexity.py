from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linprog

from rl_jax.kernels.games.convexity import convex_envelope, exact_values
from tests.kernels.kernel import Kernel, quick_jit

RNG = np.random.default_rng(0)
GRID = np.linspace(0, 1, 21)
ENVELOPE = quick_jit(convex_envelope)
SOLVE = jax.jit(exact_values, static_argnames="steps")


def test_envelope_of_hand():
  found = convex_envelope(jnp.array([0.0, 1.0, 0.4, 1.5, 1.0]), jnp.linspace(0, 1, 5))
  np.testing.assert_allclose(found.values, [0, 0.2, 0.4, 0.7, 1], rtol=1e-6)
  np.testing.assert_allclose(found.left, [0, 0, 0.5, 0.5, 1])
  np.testing.assert_allclose(found.right, [0, 0.5, 0.5, 1, 1])
  np.testing.assert_allclose(found.weight, [1, 0.5, 1, 0.5, 1])


def test_the_envelope_is_the_largest_convex_function_below():
  values = RNG.normal(size=(3, 21))
  with jax.enable_x64(True):
    found = [np.asarray(x) for x in ENVELOPE(values, GRID)]
    again = [np.asarray(x) for x in ENVELOPE(found[0], GRID)]
  assert (found[0] <= values).all() and (np.diff(found[0], n=2) > -1e-12).all()
  np.testing.assert_allclose(again[0], found[0], atol=1e-14)  # and it is not split again
  np.testing.assert_array_equal(again[3], 1)
  # Both beliefs average to the point, and the value is the mixture of theirs.
  _, left, right, weight = found
  np.testing.assert_allclose(weight * left + (1 - weight) * right, np.broadcast_to(GRID, (3, 21)), atol=1e-12)
  at = lambda q: np.take_along_axis(values, np.rint(20 * q).astype(int), axis=1)
  np.testing.assert_allclose(weight * at(left) + (1 - weight) * at(right), found[0], atol=1e-12)


def test_hide_where_the_value_is_convex_reveal_where_it_is_concave():
  convex, concave = (sign * (GRID - 0.3) ** 2 for sign in (1, -1))
  assert (ENVELOPE(convex, GRID).weight == 1).all()
  revealed = ENVELOPE(concave, GRID)
  np.testing.assert_array_equal(revealed.left[1:-1], 0)
  np.testing.assert_array_equal(revealed.right[1:-1], 1)


def signalling_value(costs, prior):
  """A linear program over all mixtures of U actions: min sum_u z_u, z_u >= sum_i p_i P(u | i) c_i(u, v) for all v."""
  types, actions, replies = costs.shape
  above = np.zeros((actions * replies, types * actions + actions))
  for row, (u, v) in enumerate(np.ndindex(actions, replies)):
    above[row, u : types * actions : actions] = prior * costs[:, u, v]
    above[row, types * actions + u] = -1
  sums = np.zeros((types, types * actions + actions))
  for i in range(types):
    sums[i, i * actions : (i + 1) * actions] = 1
  objective = np.r_[np.zeros(types * actions), np.ones(actions)]
  bounds = [(0, 1)] * (types * actions) + [(None, None)] * actions
  return linprog(objective, above, np.zeros(len(above)), sums, np.ones(types), bounds).fun


def test_two_prototypes_are_as_good_as_all_mixtures():
  """A game of one step with 5 actions and 4 replies: its end is a state for each pair."""
  costs = RNG.integers(-3, 4, (2, 5, 4)).astype(float)
  stage, moves = np.zeros((20, 5, 4)), np.tile(np.arange(20).reshape(5, 4), (20, 1, 1))
  terminal = costs.reshape(2, 20).T
  grid = np.linspace(0, 1, 85)  # 84 holds the corners: lines of small whole numbers cross at small fractions
  with jax.enable_x64(True):
    values = np.asarray(SOLVE(stage, moves, terminal, grid, steps=1)[0, 0])
  for index in (12, 42, 60):
    exact = signalling_value(costs, np.array([grid[index], 1 - grid[index]]))
    assert exact - 1e-9 <= values[index] <= exact + 0.02
  # Without a signal the value is worse.
  silent = (grid[42] * costs[0] + (1 - grid[42]) * costs[1]).max(axis=1).min()
  assert values[42] < silent - 0.1


def test_values_are_convex_and_fall_with_nothing_to_hide():
  """Random walks on 4 states: backward induction by loops at certain beliefs, where there is nothing to tell."""
  stage, moves = RNG.normal(size=(4, 3, 2)), RNG.integers(0, 4, (4, 3, 2))
  terminal = RNG.normal(size=(4, 2))
  with jax.enable_x64(True):
    values = np.asarray(SOLVE(stage, moves, terminal, GRID, steps=3))
  assert values.shape == (4, 4, 21) and (np.diff(values, n=2, axis=-1) > -1e-10).all()
  for end, known in ((-1, terminal[:, 0]), (0, terminal[:, 1])):
    for t in reversed(range(3)):
      known = (stage + known[moves]).max(axis=2).min(axis=1)
      np.testing.assert_allclose(values[t, :, end], known, atol=1e-12)


def test_wrong_shapes_say_what_is_expected():
  with pytest.raises(ValueError, match=r"values \[... G\] and grid \[G\], got \(3,\) and \(4,\)"):
    convex_envelope(jnp.ones(3), jnp.ones(4))
  with pytest.raises(ValueError, match=r"stage_costs and moves \[X U V\] and terminal_costs \[X 2\]"):
    exact_values(jnp.ones((2, 3, 4)), jnp.ones((2, 3, 4), int), jnp.ones((3, 2)), jnp.asarray(GRID), steps=1)


SIZES = {"G": 4, "X": 3, "U": 2, "W": 2, "P": 2}
DRAWS = {
  "grid": lambda rng, shape: np.linspace(0, 1, shape[0], dtype=np.float32),
  "moves": lambda rng, shape: rng.integers(0, 3, shape).astype(np.int32),
}

KERNELS = [
  Kernel(convex_envelope, {"values": "BG", "grid": "G"}, mask=None, draws=DRAWS, sizes=SIZES),
  Kernel(
    exact_values,
    {"stage_costs": "XUW", "moves": "XUW", "terminal_costs": "XP", "grid": "G"},
    {"steps": 2},
    mask=None,
    draws=DRAWS,
    sizes=SIZES,
  ),
]
