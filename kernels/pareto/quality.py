"""Quality of a front of policies: volume, utility, density; and which member serves which preference.

C-MORL, arXiv 2410.02236. Row p of `points` [P K] holds the K returns of member p of an archive, all to be maximised;
`mask` [P] is True on members. The order of members does not matter. Nothing carries a gradient.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels.reductions import Mean, masked_mean, widen, zero_masked


class Assignment(NamedTuple):
  """The member that serves each preference, the first of several, and its utility; 0 without members."""

  indices: Int[Array, " W"]
  utilities: Float[Array, " W"]


def hypervolume(points: Float[Array, "P K"], mask: Num[Array, " P"], reference: Float[Array, " K"]) -> Float[Array, ""]:
  """Volume of what is above the reference and below any member; 0 without a member above it.

  C-MORL, arXiv 2410.02236. Exact, by slices along one objective after the other: P^(K - 1) steps, of which P^2 are
  held at a time. A dominated member adds nothing.

  >>> points = jnp.array([[1.0, 5.0], [2.0, 4.0], [4.0, 2.0], [5.0, 1.0], [2.0, 2.0], [-1.0, 9.0]])
  >>> print(hypervolume(points, jnp.ones(6), jnp.zeros(2)))
  14.0
  """
  matching_axes("hypervolume", points=(points, "P K"), mask=(mask, "P"), reference=(reference, "K"))
  corners = jnp.maximum(zero_masked(points, mask[:, None]) - widen(reference), 0)
  return jax.lax.stop_gradient(_volume(zero_masked(corners, mask[:, None])))


def _volume(corners):
  """Volume of the boxes between 0 and each corner [P K], together; a corner at 0 is an empty box."""
  if corners.shape[1] == 1:
    return corners.max(initial=0)
  corners = corners[jnp.argsort(-corners[:, -1])]
  heights = corners[:, -1] - jnp.append(corners[1:, -1], 0)
  below, members = corners[:, :-1], jnp.arange(corners.shape[0])
  if corners.shape[1] == 2:
    return jnp.sum(jax.lax.cummax(below[:, 0]) * heights)
  slice_area = lambda last: _volume(jnp.where((members <= last)[:, None], below, 0))
  areas = jax.vmap(slice_area)(members) if corners.shape[1] == 3 else jax.lax.map(slice_area, members)
  return jnp.sum(areas * heights)


def simplex_grid(dimension: int, parts: int) -> Float[Array, "W K"]:
  """All vectors of multiples of 1 / parts that sum to 1: preferences, or combinations of components.

  C-MORL, arXiv 2410.02236, whose code compares sums of floats with 1 and so loses some.

  >>> print(simplex_grid(2, 2))
  [[0.  1. ]
   [0.5 0.5]
   [1.  0. ]]
  """
  if dimension < 1 or parts < 1:
    raise ValueError(f"simplex_grid: expected a dimension and parts of at least 1, got {dimension} and {parts}")
  bars = itertools.combinations(range(parts + dimension - 1), dimension - 1)
  edges = np.array([(-1, *between, parts + dimension - 1) for between in bars])
  return jnp.asarray(np.diff(edges, axis=1) - 1, float) / parts


def assign_policies(
  points: Float[Array, "P K"], mask: Num[Array, " P"], preferences: Float[Array, "W K"]
) -> Assignment:
  """argmax_p and max_p of w . G_p for each preference w.

  C-MORL, arXiv 2410.02236, policy assignment.

  >>> print(*assign_policies(jnp.array([[1.0, 5.0], [4.0, 3.0]]), jnp.ones(2), jnp.array([[0.0, 1.0], [0.5, 0.5]])))
  [0 1] [5.  3.5]
  """
  matching_axes("assign_policies", points=(points, "P K"), mask=(mask, "P"), preferences=(preferences, "W K"))
  exists = mask != 0
  scores = widen(preferences) @ zero_masked(points, mask[:, None]).T
  indices = jnp.argmax(jnp.where(exists, scores, -jnp.inf), axis=1).astype(jnp.int32)
  utilities = zero_masked(jnp.take_along_axis(scores, indices[:, None], axis=1)[:, 0], exists.any())
  return jax.lax.stop_gradient(Assignment(indices, utilities))


def expected_utility(points: Float[Array, "P K"], mask: Num[Array, " P"], preferences: Float[Array, "W K"]) -> Mean:
  """Mean over preferences w of max_p w . G_p; `simplex_grid` gives the preferences. Without members the weight is 0.

  C-MORL, arXiv 2410.02236, with grids of step 0.01 (2 objectives), 0.1 (3) or 0.5 (more).

  >>> points, preferences = jnp.array([[1.0, 5.0], [4.0, 3.0]]), jnp.array([[0.0, 1.0], [0.5, 0.5]])
  >>> print(expected_utility(points, jnp.ones(2), preferences).value)
  4.25
  """
  utilities = assign_policies(points, mask, preferences).utilities
  return masked_mean(utilities, jnp.broadcast_to((mask != 0).any(), utilities.shape))


def sparsity(points: Float[Array, "P K"], mask: Num[Array, " P"]) -> Float[Array, ""]:
  """1 / (P - 1) sum over objectives and neighbours, in its order, of their squared difference; 0 for fewer than 2.

  C-MORL, arXiv 2410.02236. Lower is denser; only fronts of similar volume compare.

  >>> print(sparsity(jnp.array([[1.0, 5.0], [2.0, 4.0], [4.0, 2.0]]), jnp.ones(3)))
  5.0
  """
  matching_axes("sparsity", points=(points, "P K"), mask=(mask, "P"))
  count = (mask != 0).sum()
  ordered = jnp.sort(jnp.where(mask[:, None] != 0, widen(points), jnp.inf), axis=0)
  between = (jnp.arange(1, mask.size) < count)[:, None]
  squares = jnp.square(jnp.where(between, ordered[1:], 0) - jnp.where(between, ordered[:-1], 0))
  return jax.lax.stop_gradient(squares.sum() / jnp.maximum(count - 1, 1))
