"""Fronts of policies with several objectives: which are not dominated, and where the front is empty.

C-MORL, arXiv 2410.02236. Row p of `points` [P K] holds the K returns of member p of an archive, all to be maximised;
`mask` [P] is True on members. Nothing carries a gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import matching_axes
from rl_jax.kernels._order import largest
from rl_jax.kernels.reductions import zero_masked


class SelectedMembers(NamedTuple):
  """Members to extend the front from, the most isolated first; 0 and False where there are fewer."""

  indices: Int[Array, " N"]
  mask: Bool[Array, " N"]


def pareto_front(
  points: Float[Array, "P K"], mask: Num[Array, " P"], *, reference: Float[Array, " K"] | None = None
) -> Bool[Array, " P"]:
  """True on members that no other one equals or exceeds in every objective and exceeds in one; duplicates all stay.

  With `reference`, members below it in any objective are left out. For a cost to be minimised pass its negative: the
  frontier of (cost, score) of "Toward Efficient Agents", arXiv 2601.14192, is that of [-cost, score].

  >>> points = jnp.array([[1.0, 5.0], [2.0, 4.0], [2.0, 3.0], [0.0, 9.0]])
  >>> print(pareto_front(points, jnp.ones(4), reference=jnp.ones(2)))
  [ True  True False False]
  """
  matching_axes("pareto_front", points=(points, "P K"), mask=(mask, "P"))
  exists, points = mask != 0, zero_masked(points, mask[:, None])
  reached = points[:, None] >= points
  exceeds = points[:, None] > points
  dominated = ((reached.all(axis=2) & exceeds.any(axis=2)) & exists[:, None]).any(axis=0)
  above = True if reference is None else (points >= reference).all(axis=1)
  return exists & ~dominated & above


def crowding_distances(points: Float[Array, "P K"], mask: Num[Array, " P"]) -> Float[Array, " P"]:
  """d_p = sum over objectives of (next higher value - next lower value) / (highest - lowest), inf at both ends of any.

  NSGA-II's distance, as C-MORL, arXiv 2410.02236, uses it. Equal values are in the order of the members. A constant
  objective adds 0 between its ends (its code divides 0 by 0). 0 where the mask is.

  >>> print(crowding_distances(jnp.array([[1.0, 5.0], [2.0, 4.0], [4.0, 2.0], [5.0, 1.0]]), jnp.ones(4)))
  [inf 1.5 1.5 inf]
  """
  matching_axes("crowding_distances", points=(points, "P K"), mask=(mask, "P"))
  exists, points = mask != 0, zero_masked(points, mask[:, None])
  count, places = exists.sum(), jnp.arange(exists.size)

  def of_objective(values):
    order = jnp.lexsort((values, ~exists))
    ordered = values[order]
    span = ordered[count - 1] - ordered[0]
    gaps = jnp.roll(ordered, -1) - jnp.roll(ordered, 1)
    inner = (places > 0) & (places < count - 1)
    distances = jnp.where(inner, jnp.where(span > 0, gaps / jnp.where(span > 0, span, 1), 0), jnp.inf)
    return jnp.zeros_like(distances).at[order].set(distances)

  return jax.lax.stop_gradient(zero_masked(jax.vmap(of_objective, 1, 1)(points).sum(axis=1), exists))


def select_isolated(
  points: Float[Array, "P K"],
  mask: Num[Array, " P"],
  history: Float[Array, "H K"],
  history_mask: Num[Array, " H"],
  *,
  count: int,
) -> SelectedMembers:
  """The `count` members of largest crowding distance, of equal ones the first, but none with returns seen before.

  C-MORL, arXiv 2410.02236: where the next extension runs start. `mask` is the front; `history` holds the returns of
  members that earlier rounds selected, compared exactly. With an empty history it also caps an archive.

  >>> front, history = jnp.array([[1.0, 5.0], [2.0, 4.0], [5.0, 1.0]]), jnp.array([[1.0, 5.0]])
  >>> print(select_isolated(front, jnp.ones(3), history, jnp.ones(1), count=2).indices)
  [2 1]
  """
  arrays = dict(points=(points, "P K"), mask=(mask, "P"), history=(history, "H K"), history_mask=(history_mask, "H"))
  matching_axes("select_isolated", **arrays)
  seen = ((points[:, None] == history).all(axis=2) & (history_mask != 0)).any(axis=1)
  return SelectedMembers(*largest(crowding_distances(points, mask), (mask != 0) & ~seen, count))
