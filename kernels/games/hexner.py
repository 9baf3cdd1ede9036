"""Hexner's game: two double integrators race for one of two goals, and one of them knows which.

The test game of CAMS, arXiv 2502.00560. A state is (x_1, y_1, vx_1, vy_1, x_2, y_2, vx_2, vy_2); the goals are (0, 1),
with probability p, and (0, -1). In equilibrium player 1 hides the goal until a critical time, and then goes for it.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import widen

EFFORTS = (0.05, 0.025), (0.05, 0.1)
"""Costs of a player's squared controls along x and y."""


class Controls(NamedTuple):
  """Accelerations of both players."""

  first: Float[Array, "*N 2"]
  second: Float[Array, "*N 2"]


def hexner_controls(state: Float[Array, "*N 8"], belief: Float[Array, "*N"], time_to_go: Float[Array, ""]) -> Controls:
  """u = -3 (position + velocity tau - target) tau / (3 r + tau^3): both steer to the believed goal (0, 2p - 1).

  arXiv 2502.00560, code; tau is the time to go, r the effort of `EFFORTS`.

  >>> print(hexner_controls(jnp.zeros(8), jnp.array(0.5), jnp.array(1.0)).first == 0)
  [ True  True]
  """
  _check("hexner_controls", state)
  state, tau, belief = widen(state), widen(jnp.asarray(time_to_go)), widen(jnp.asarray(belief))
  target = jnp.stack([jnp.zeros_like(belief), 2 * belief - 1], axis=-1)

  def steer(player, efforts):
    position, velocity = player[..., :2], player[..., 2:]
    return -3 * (position + velocity * tau - target) * tau / (3 * jnp.asarray(efforts, state.dtype) + tau**3)

  return Controls(*(steer(state[..., 4 * i : 4 * i + 4], EFFORTS[i]) for i in range(2)))


def hexner_step(
  state: Float[Array, "*N 8"], first: Float[Array, "*N 2"], second: Float[Array, "*N 2"], *, dt: float = 0.1
) -> Float[Array, "*N 8"]:
  """position + velocity dt + u dt^2 / 2 and velocity + u dt, of both players.

  arXiv 2502.00560, code.

  >>> print(hexner_step(jnp.zeros(8), jnp.ones(2), jnp.zeros(2), dt=1.0))
  [0.5 0.5 1.  1.  0.  0.  0.  0. ]
  """
  _check("hexner_step", state)
  players = widen(state).reshape(*state.shape[:-1], 2, 2, 2)
  controls = jnp.stack([widen(first), widen(second)], axis=-2)
  positions, velocities = players[..., 0, :], players[..., 1, :]
  moved = positions + velocities * dt + controls * (dt**2 / 2), velocities + controls * dt
  return jnp.stack(moved, axis=-2).reshape(state.shape)


def hexner_running_cost(first: Float[Array, "*N 2"], second: Float[Array, "*N 2"]) -> Float[Array, "*N"]:
  """l = 0.05 ux^2 + 0.025 uy^2 - 0.05 vx^2 - 0.1 vy^2, per unit of time: effort of player 1 minus that of player 2.

  arXiv 2502.00560, code.

  >>> print(f"{hexner_running_cost(jnp.array([2.0, 0.0]), jnp.array([0.0, 1.0])):.2f}")
  0.10
  """
  efforts = (jnp.square(widen(u)) * jnp.asarray(r) for u, r in zip((first, second), EFFORTS, strict=True))
  own, other = (effort.sum(axis=-1) for effort in efforts)
  return own - other


def hexner_terminal_costs(state: Float[Array, "*N 8"]) -> Float[Array, "*N 2"]:
  """g_i = |position_1 - goal_i|^2 - |position_2 - goal_i|^2 for both goals: player 1 wants to be closer.

  arXiv 2502.00560, code.

  >>> print(hexner_terminal_costs(jnp.zeros(8).at[1].set(1.0)))
  [-1.  3.]
  """
  _check("hexner_terminal_costs", state)
  state = widen(state)
  goals = jnp.array([[0.0, 1.0], [0.0, -1.0]], state.dtype)
  distances = [jnp.square(state[..., None, i : i + 2] - goals).sum(axis=-1) for i in (0, 4)]
  return distances[0] - distances[1]


def _check(function, state):
  if state.shape[-1:] != (8,):
    raise ValueError(f"{function}: expected states [... 8], got {state.shape}")
