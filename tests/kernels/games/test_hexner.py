from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.games import hexner
from tests.kernels.kernel import Kernel

STATE = np.array([-0.5, 0.1, 0.2, -0.3, 0.5, 0.0, 0.0, 0.4])


def test_the_controls_are_the_first_of_the_best_course():
  """Least squares of r int u^2 + |position - goal|^2 at the end, in 4000 steps: the formula is its continuous limit."""
  tau, steps, belief = 0.4, 4000, 0.8
  dt = tau / steps
  reach = dt * (tau - dt * (np.arange(steps) + 0.5))  # what a control moves the end by
  found = hexner.hexner_controls(jnp.asarray(STATE), jnp.array(belief), jnp.array(tau))
  for player, controls in enumerate(found):
    for axis in range(2):
      position, velocity = STATE[4 * player + axis], STATE[4 * player + 2 + axis]
      missed = position + tau * velocity - axis * (2 * belief - 1)
      effort = hexner.EFFORTS[player][axis]
      best = -missed * reach / (effort * dt + reach @ reach)
      np.testing.assert_allclose(controls[axis], best[0], rtol=2e-3)


def test_steps_add_up():
  """Constant controls: ten steps are one of ten times the length."""
  first, second, state = jnp.array([1.0, -2.0]), jnp.array([0.5, 0.0]), jnp.asarray(STATE)
  for _ in range(10):
    state = hexner.hexner_step(state, first, second, dt=0.1)
  np.testing.assert_allclose(state, hexner.hexner_step(jnp.asarray(STATE), first, second, dt=1.0), rtol=1e-5)


def test_costs_of_equal_players():
  same = jnp.array([3.0, 0.0])
  assert hexner.hexner_running_cost(same, same) == 0  # efforts along x are equal
  np.testing.assert_array_equal(hexner.hexner_terminal_costs(jnp.array([0.5, 0.2, 0, 0, 0.5, 0.2, 1, 1])), [0, 0])
  np.testing.assert_allclose(hexner.hexner_terminal_costs(jnp.zeros(8).at[5].set(1.0)), [1, -3])


def test_wrong_states_say_what_is_expected():
  with pytest.raises(ValueError, match=r"expected states \[... 8\], got \(4,\)"):
    hexner.hexner_terminal_costs(jnp.ones(4))


SIZES = {"S": 8, "U": 2}
UNIT = lambda rng, shape: rng.uniform(0.1, 1, shape).astype(np.float32)
DRAWS = {"belief": UNIT, "time_to_go": UNIT}
CONTROLS = {"first": "BU", "second": "BU"}


def _kernel(function, axes, **fields):
  return Kernel(function, axes, mask=None, draws=DRAWS, sizes=SIZES, **fields)


KERNELS = [
  _kernel(hexner.hexner_controls, {"state": "BS", "belief": "B", "time_to_go": ""}),
  # By row, but the suites take an axis of 8 for padded slots.
  _kernel(hexner.hexner_step, {"state": "BS"} | CONTROLS, scope="batch", gradients=("state", "first")),
  _kernel(hexner.hexner_running_cost, CONTROLS, gradients=("first", "second")),
  _kernel(hexner.hexner_terminal_costs, {"state": "BS"}, gradients=("state",)),
]
