"""Token rewards added to those of a method, from the values of the prefixes of a response.

The states of a response are its prefixes: state s_i keeps the first i units, i = 0 to n, and blanks all others. Its
value Phi(s_i) is read from the table of all coalitions, which both forms need.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from rl_jax.kernels.analysis import empty_graph, observe
from rl_jax.kernels.rewards import g4rl_high_level, potential_shaping, prefix_values
from rl_jax.kernels.segments import on_tokens, segment_ends
from rl_jax.methods._credits import Credit
from rl_jax.methods.method import one_of
from rl_jax.trajectories import Trajectories

_NODES = 128
"""Largest number of nodes in the graph."""


Shaping = Callable[[ConfigDict, Trajectories, Bool[Array, "B T"]], Float[Array, "B T"]]
"""(options, rows with the values of all coalitions, mask) -> rewards of tokens."""


def none(m: ConfigDict, rows: Trajectories, mask: Bool[Array, "B T"]) -> Float[Array, "B T"]:
  """No reward."""
  return jnp.zeros(mask.shape)


def potential(m: ConfigDict, rows: Trajectories, mask: Bool[Array, "B T"]) -> Float[Array, "B T"]:
  """gamma Phi(s') - Phi(s), with 0 after the end. To preserve the optimum, Phi must depend only on the text so far; it
  does if the number of blanks after that text does not affect the verifier."""
  before = _beginnings(rows)[:, :-1]
  return potential_shaping(on_tokens(before, rows.extras["unit_ids"], mask), mask, discount=m.discount)


def graph(m: ConfigDict, rows: Trajectories, mask: Bool[Array, "B T"]) -> Float[Array, "B T"]:
  """E(s) . E(g) on the last token of each unit, the high-level reward of G4RL (arXiv 2511.10872).

  One graph holds the states of all rows of the batch. States are compared by their features (units so far, Phi); those
  within `graph_eps` are one node. A is its adjacency matrix, and the goal g is the last state of the best row. E
  minimises the sum over pairs of nodes of (E(u) . E(v) - A_uv / max A)^2 exactly, by the eigenvectors of A whose
  eigenvalues are not negative. The paper instead trains an encoder of states, and a policy that sets goals. Everything
  but the loss and the reward is inferred.
  """
  exists = rows.extras["unit_mask"]
  values, count = _beginnings(rows), exists.sum(axis=1)
  places = jnp.broadcast_to(jnp.arange(values.shape[1]), values.shape)
  features = jnp.stack([places.astype(values.dtype), values], axis=2)
  visited = (places <= count[:, None]) & rows.scored[:, None]

  def visit(graph, row):
    states, inside = row
    seen = observe(graph._replace(previous=jnp.full(1, -1)), states[None], inside[None], eps=m.graph_eps)
    return seen.graph, seen.labels[0]

  seen, labels = jax.lax.scan(visit, empty_graph(features[:1], capacity=_NODES), (features, visited))
  edges = seen.adjacency[0]
  scales, vectors = jnp.linalg.eigh(edges / jnp.maximum(edges.max(), 1.0))
  nodes = vectors * jnp.sqrt(jnp.maximum(scales, 0.0))
  best = jnp.argmax(jnp.where(rows.scored, rows.rewards, -jnp.inf))
  goal = nodes[labels[best, count[best]]]
  reached = nodes[labels[:, 1:]]
  similarity = g4rl_high_level(
    jnp.zeros(exists.shape), reached, jnp.broadcast_to(goal, reached.shape), exists & visited[:, 1:], alpha=1.0
  )
  ids = rows.extras["unit_ids"]
  return on_tokens(similarity, ids, segment_ends(ids, mask))


def _beginnings(rows: Trajectories) -> Float[Array, "B S+1"]:
  """Phi(s_0) to Phi(s_S); after the last unit, the value of the whole response."""
  exists = rows.extras["unit_mask"]
  orders = jnp.broadcast_to(jnp.arange(exists.shape[1]), (exists.shape[0], 1, exists.shape[1]))
  return prefix_values(rows.extras["coalition_values"], orders, exists)[:, 0]


SHAPING: dict[str, Shaping] = {"none": none, "potential": potential, "graph": graph}


def shaping(m: ConfigDict, credit: Credit) -> Shaping:
  """The function that `m.shaping` names. Raises ValueError: `credit` does not score prefixes."""
  name = one_of(m, "shaping", SHAPING)
  if name != "none" and "coalition_values" not in credit.requires:
    raise ValueError(
      f"method.shaping={name!r} reads all coalitions: set method.credit to 'shapley' or 'owen', and method.orders to 0"
    )
  return SHAPING[name]
