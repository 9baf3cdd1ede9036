"""Graphs of visited states, and the loss of an encoder of their nodes.

Every row has a graph of its own with a fixed number N of node slots. States close to a node are that node; moving
between nodes adds to the edge between them. An encoder E is trained so that E(u) . E(v) tells how strong the edge is:
the similarity of a state to a subgoal that `rewards.g4rl_high_level` and `g4rl_low_level` pay for. The labels -1
mean none.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import widen, zero_masked

REPLACEMENTS = ("oldest", "least_connected")


class StateGraph(NamedTuple):
  """State in, state out; N is the capacity. Set `previous` to -1 before a new episode: no edge then joins the two."""

  features: Float[Array, "B N D"]
  """The last feature seen of each node, 0 in free slots."""
  adjacency: Float[Array, "B N N"]
  """Symmetric counts of moves between nodes; the diagonal is 0."""
  order: Int[Array, "B N"]
  """Index of the node in its row, from 0 in order of insertion; -1 in free slots."""
  previous: Int[Array, " B"]
  """The node of the last state, -1 if there is none."""
  changes: Int[Array, " B"]
  """Changes since the encoder was last trained: 1 per edge update, N - 1 per replaced node."""


class Observation(NamedTuple):
  """The graph after the steps, and the node of each step's state, -1 in masked steps."""

  graph: StateGraph
  labels: Int[Array, "B T"]


class TrainingDue(NamedTuple):
  """Decision whether to train the encoder now, and the counter of changes from here on."""

  due: Bool[Array, " B"]
  changes: Int[Array, " B"]


def empty_graph(features: Num[Array, "B T D"], *, capacity: int) -> StateGraph:
  """A graph without nodes for each row, for features of this shape and type.

  >>> print(empty_graph(jnp.zeros((1, 5, 2)), capacity=3).order)
  [[-1 -1 -1]]
  """
  rows, _, width = features.shape
  dtype = widen(features[:, :0]).dtype
  return StateGraph(
    jnp.zeros((rows, capacity, width), dtype),
    jnp.zeros((rows, capacity, capacity), dtype),
    jnp.full((rows, capacity), -1, jnp.int32),
    jnp.full(rows, -1, jnp.int32),
    jnp.zeros(rows, jnp.int32),
  )


def _visit(graph: StateGraph, feature, *, eps, replace):
  """One state of one row."""
  capacity, exists = graph.order.size, graph.order >= 0
  distances = jnp.where(exists, jnp.linalg.norm(graph.features - feature, axis=-1), jnp.inf)
  closest = jnp.argmin(distances)
  new, full = distances[closest] > eps, exists.all()
  weakest = graph.order if replace == "oldest" else graph.adjacency.sum(axis=-1)
  slot = jnp.where(full, jnp.argmin(weakest), jnp.argmin(exists))
  node = jnp.where(new, slot, closest)
  replaced = new & full
  moved = (graph.previous >= 0) & (graph.previous != node)
  is_node, before = jnp.arange(capacity) == node, jnp.arange(capacity) == graph.previous
  adjacency = jnp.where(replaced & (is_node[:, None] | is_node), 0, graph.adjacency)
  edge = moved & ((is_node[:, None] & before) | (before[:, None] & is_node))
  graph = StateGraph(
    jnp.where(is_node[:, None], feature, graph.features),
    adjacency + edge,
    jnp.where(is_node & new, graph.order.max() + 1, graph.order),
    node.astype(jnp.int32),
    graph.changes + moved + (capacity - 1) * replaced,
  )
  return graph, node.astype(jnp.int32)


def observe(
  graph: StateGraph,
  features: Float[Array, "B T D"],
  mask: Num[Array, "B T"],
  *,
  eps: float,
  replace: str = "oldest",
) -> Observation:
  """The states of T steps in order: further than eps from every node, a new node; else the closest takes the feature.

  G4RL, arXiv 2511.10872 (summarised in 2512.04302). The edge to the previous state's node becomes 1 for a new node and
  grows by 1 otherwise. A full graph gives up its "oldest" node (first inserted) or the "least_connected" (least sum of
  edges), with its edges. Not in the papers: a state of the previous node adds no edge, at distance eps it is the same
  node, ties go to the lowest slot, and a replaced previous node leaves no edge. Masked steps change nothing.

  >>> features = jnp.array([[[0.0], [0.1], [2.0], [0.2]]])
  >>> graph, labels = observe(empty_graph(features, capacity=3), features, jnp.ones((1, 4)), eps=1.0)
  >>> print(labels, graph.adjacency[0, 0], graph.changes)
  [[0 0 1 0]] [0. 2. 0.] [2]
  """
  known_option("observe", "replace", replace, REPLACEMENTS)
  if features.ndim != 3 or features.shape[:2] != mask.shape:
    raise ValueError(f"observe: expected features [B T D] and mask [B T], got {features.shape} and {mask.shape}")
  features = jax.lax.stop_gradient(zero_masked(features, mask[..., None])).astype(graph.features.dtype)
  visit = jax.vmap(lambda row, feature: _visit(row, feature, eps=eps, replace=replace))

  def step(graph, inputs):
    feature, real = inputs
    visited, labels = visit(graph, feature)
    select = lambda new, old: jnp.where(real.reshape(real.shape + (1,) * (new.ndim - 1)), new, old)
    return jax.tree.map(select, visited, graph), jnp.where(real, labels, -1)

  graph, labels = jax.lax.scan(step, graph, (jnp.swapaxes(features, 0, 1), (mask != 0).T))
  return Observation(graph, labels.T)


def training_due(changes: Int[Array, " B"], *, capacity: int, beta: float) -> TrainingDue:
  """Train the encoder when changes > beta (N^2 - N), N the capacity; the counter then restarts at 0.

  G4RL, arXiv 2511.10872. `beta` has no published default.

  >>> print(*training_due(jnp.array([13, 8]), capacity=4, beta=1.0))
  [ True False] [0 8]
  """
  due = changes > beta * (capacity**2 - capacity)
  return TrainingDue(due, jnp.where(due, 0, changes))


def reconstruction_loss(
  embeddings: Float[Array, "B N E"], adjacency: Float[Array, "B N N"], mask: Num[Array, "B N"]
) -> Float[Array, " B"]:
  """sum over ordered pairs of nodes u, v of (g_u . g_v - A_uv / max A)^2, for the graph of each row.

  G4RL, arXiv 2511.10872. `mask` marks the nodes that exist (`graph.order >= 0`). The diagonal, with target A_uu = 0, is
  part of the sum: not in the paper. A graph without edges has target 0, one without nodes loss 0.

  >>> g, edges = jnp.array([[[1.0, 0.0], [1.0, 1.0]]]), jnp.array([[[0.0, 2.0], [2.0, 0.0]]])
  >>> print(reconstruction_loss(g, edges, jnp.ones((1, 2))))
  [5.]
  """
  pairs = (mask[:, :, None] != 0) & (mask[:, None, :] != 0)
  if embeddings.ndim != 3 or adjacency.shape != pairs.shape or embeddings.shape[:2] != mask.shape:
    raise ValueError(
      "reconstruction_loss: expected embeddings [B N E], adjacency [B N N] and mask [B N], "
      f"got {embeddings.shape}, {adjacency.shape} and {mask.shape}"
    )
  embeddings = zero_masked(embeddings, mask[..., None])
  edges = jax.lax.stop_gradient(zero_masked(adjacency, pairs))
  strongest = edges.max(axis=(1, 2), keepdims=True, initial=0)
  targets = edges / jnp.where(strongest > 0, strongest, 1)
  predicted = jnp.einsum("bue,bve->buv", embeddings, embeddings)
  return zero_masked(jnp.square(predicted - targets), pairs).sum(axis=(1, 2))
