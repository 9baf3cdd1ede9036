"""Exact values of small games with two types, by convex envelopes in the belief, backwards in time."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rl_jax.kernels.reductions import widen


class Envelope(NamedTuple):
  """The largest convex function below the values, and the two beliefs that each point is split into."""

  values: Float[Array, "*N G"]
  left: Float[Array, "*N G"]
  right: Float[Array, "*N G"]
  weight: Float[Array, "*N G"]
  """Probability of the left belief. A point that is not split has 1, and both beliefs are the point itself."""


def convex_envelope(values: Float[Array, "*N G"], grid: Float[Array, " G"]) -> Envelope:
  """vex(q) = min(W(q), min over a < q < b of theta W(a) + (1 - theta) W(b)), theta = (b - q) / (b - a), on the grid.

  CAMS, arXiv 2502.00560, for two types, by the standard construction. `grid` ascends. An improvement below 1e-12, or
  below rounding error, does not count as a split. All pairs of points are computed at once: G^3 numbers.

  >>> envelope = convex_envelope(jnp.array([0.0, 1.0, 0.5]), jnp.array([0.0, 0.5, 1.0]))
  >>> print(envelope.values, envelope.left[1], envelope.right[1], envelope.weight[1])
  [0.   0.25 0.5 ] 0.0 1.0 0.5
  """
  if grid.ndim != 1 or values.shape[-1:] != grid.shape:
    raise ValueError(f"convex_envelope: expected values [... G] and grid [G], got {values.shape} and {grid.shape}")
  values, grid = widen(values), widen(grid)
  q, a, b = grid[:, None, None], grid[:, None], grid
  inside = (a < q) & (q < b)
  theta = jnp.where(inside, (b - q) / jnp.where(inside, b - a, 1), 1)
  mixed = theta * values[..., None, :, None] + (1 - theta) * values[..., None, None, :]
  mixed = jnp.where(inside, mixed, jnp.inf).reshape(*values.shape, -1)
  best = mixed.argmin(axis=-1)
  lowest = mixed.min(axis=-1)
  rounding = 4 * jnp.finfo(values.dtype).eps * jnp.abs(values).max(axis=-1, keepdims=True)
  split = values - lowest > jnp.maximum(1e-12, rounding)
  points = grid.shape[0]
  pick = lambda x, alone: jnp.where(split, x, alone)
  weights = jnp.take_along_axis(jnp.broadcast_to(theta.reshape(points, -1), mixed.shape), best[..., None], axis=-1)
  return Envelope(
    pick(lowest, values), pick(grid[best // points], grid), pick(grid[best % points], grid), pick(weights[..., 0], 1)
  )


def exact_values(
  stage_costs: Float[Array, "X U V"],
  moves: Int[Array, "X U V"],
  terminal_costs: Float[Array, "X 2"],
  grid: Float[Array, " G"],
  *,
  steps: int,
) -> Float[Array, "K X G"]:
  """V_t(x, p) = Vex_p min_u max_v [l(x, u, v) + V_{t+1}(x', p)], V_K(x, p) = p g_1(x) + (1 - p) g_2(x), K = `steps`.

  CAMS, arXiv 2502.00560, for X states, U actions u of player 1 and V replies v of player 2, who sees u; `moves` holds
  the next states x', and `grid` the probabilities p of the first type. Returns t = 0 .. K. Exact if the envelope's
  corners are on the grid, else an upper bound.

  >>> stay = jnp.zeros((1, 1, 1), int)
  >>> print(exact_values(jnp.ones((1, 1, 1)), stay, jnp.array([[4.0, 0.0]]), jnp.array([0.0, 0.5, 1.0]), steps=2)[0])
  [[2. 4. 6.]]
  """
  shape = stage_costs.shape
  if len(shape) != 3 or moves.shape != shape or terminal_costs.shape != (shape[0], 2):
    raise ValueError(
      "exact_values: expected stage_costs and moves [X U V] and terminal_costs [X 2], "
      f"got {shape}, {moves.shape} and {terminal_costs.shape}"
    )
  costs, first = widen(stage_costs)[..., None], widen(grid)
  terminal = widen(terminal_costs)
  last = terminal[:, :1] * first + terminal[:, 1:] * (1 - first)

  def back(values, _):
    before = convex_envelope((costs + values[moves]).max(axis=2).min(axis=1), grid).values
    return before, before

  earlier = jax.lax.scan(back, last, length=steps)[1]
  return jnp.concatenate([earlier[::-1], last[None]])
