from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.analysis import state_graph
from rl_jax.kernels.analysis.state_graph import empty_graph, observe
from tests.kernels.kernel import Kernel
from tests.kernels.numerics import finite_difference


def walk(positions, capacity, **options):
  features = jnp.array(positions, jnp.float32)[None, :, None]
  return observe(empty_graph(features, capacity=capacity), features, jnp.ones(features.shape[:2]), **options)


def test_hand_computed_walk():
  # 0.5 is the node of 0 and moves it to 0.5; 1.5 is at distance 1, the same node still; 2.6 is further from 1.5.
  graph, labels = walk([0.0, 0.5, 1.5, 2.6, 1.2, 2.5], 3, eps=1.0)
  np.testing.assert_array_equal(labels, [[0, 0, 0, 1, 0, 1]])
  np.testing.assert_allclose(graph.features[0, :, 0], [1.2, 2.5, 0])
  np.testing.assert_array_equal(graph.adjacency[0], [[0, 3, 0], [3, 0, 0], [0, 0, 0]])
  np.testing.assert_array_equal(graph.order, [[0, 1, -1]])
  assert (graph.previous.item(), graph.changes.item()) == (1, 3)


@pytest.mark.parametrize(
  "replace, labels, adjacency, order",
  [
    # Node 0 is the oldest, though it was seen again; its edges go, and the new node is joined to the previous one, 2.
    ("oldest", [0, 1, 0, 1, 2, 0], [[0, 0, 1], [0, 0, 1], [1, 1, 0]], [3, 1, 2]),
    # Node 2 has one move, the others more; it is the previous node too, so the new one has no edge.
    ("least_connected", [0, 1, 0, 1, 2, 2], [[0, 3, 0], [3, 0, 0], [0, 0, 0]], [0, 1, 3]),
  ],
)
def test_a_full_graph_gives_up_a_node(replace, labels, adjacency, order):
  graph, actual = walk([0.0, 5.0, 0.0, 5.0, 10.0, 20.0], 3, eps=1.0, replace=replace)
  np.testing.assert_array_equal(actual, [labels])
  np.testing.assert_array_equal(graph.adjacency[0], adjacency)
  np.testing.assert_array_equal(graph.order, [order])
  assert graph.changes.item() == 4 + 2 + (replace == "oldest")


def test_steps_in_two_calls_are_steps_in_one():
  features = jnp.array(np.random.default_rng(0).normal(size=(2, 9, 2)), jnp.float32)
  mask = jnp.array(np.random.default_rng(1).random((2, 9)) < 0.8)
  whole = observe(empty_graph(features, capacity=3), features, mask, eps=0.8)
  first = observe(empty_graph(features, capacity=3), features[:, :4], mask[:, :4], eps=0.8)
  second = observe(first.graph, features[:, 4:], mask[:, 4:], eps=0.8)
  jax.tree.map(np.testing.assert_array_equal, second.graph, whole.graph)
  np.testing.assert_array_equal(jnp.concatenate([first.labels, second.labels], axis=1), whole.labels)
  apart = observe(first.graph._replace(previous=jnp.full(2, -1)), features[:, 4:], mask[:, 4:], eps=0.8)
  assert apart.graph.changes.sum() < whole.graph.changes.sum()


def test_loss_and_gradient_against_loops():
  rng = np.random.default_rng(0)
  embeddings, adjacency = rng.normal(size=(1, 3, 2)), np.array([[[0, 3, 7], [3, 0, 9], [7, 9, 0]]], float)
  mask = np.array([[1, 1, 0]])

  def reference(x):
    # The strongest edge among nodes that exist is 3.
    return sum((x[0, u] @ x[0, v] - adjacency[0, u, v] / 3) ** 2 for u in (0, 1) for v in (0, 1))

  with jax.enable_x64(True):
    loss = lambda x: state_graph.reconstruction_loss(x, jnp.array(adjacency), jnp.array(mask)).sum()
    value, gradient = jax.value_and_grad(loss)(jnp.array(embeddings))
  np.testing.assert_allclose(value, reference(embeddings), rtol=1e-12)
  np.testing.assert_allclose(gradient, finite_difference(reference, embeddings), atol=1e-8)


def test_a_graph_without_edges_has_target_zero():
  loss = state_graph.reconstruction_loss(jnp.ones((1, 2, 1)), jnp.zeros((1, 2, 2)), jnp.ones((1, 2)))
  np.testing.assert_array_equal(loss, [4])


def test_training_restarts_the_counter_and_needs_more_than_the_threshold():
  due, changes = state_graph.training_due(jnp.array([6, 7]), capacity=4, beta=0.5)
  assert due.tolist() == [False, True] and changes.tolist() == [6, 0]


def test_an_unknown_replacement_lists_the_known():
  with pytest.raises(ValueError, match="unknown replace 'newest'; known: oldest, least_connected"):
    walk([0.0], 2, eps=1.0, replace="newest")


SIZES = {"D": 2, "E": 3, "N": 3}


def _observe(features, mask, *, eps, replace):
  graph = state_graph.empty_graph(features, capacity=2)
  return state_graph.observe(graph, features, mask, eps=eps, replace=replace)


def _edges(rng, shape):
  counts = np.triu(rng.integers(0, 3, shape), k=1)
  return (counts + np.swapaxes(counts, -1, -2)).astype(np.float32)


KERNELS = [
  Kernel(state_graph.empty_graph, {"features": "BTD"}, {"capacity": 3}, mask=None, sizes=SIZES),
  *(
    Kernel(
      _observe,
      {"features": "BTD", "mask": "BT"},
      {"eps": 1.0, "replace": replace},
      zero_masked=False,  # the label of a masked step is -1
      public=state_graph.observe,
      sizes=SIZES,
    )
    for replace in state_graph.REPLACEMENTS
  ),
  Kernel(
    state_graph.training_due,
    {"changes": "B"},
    {"capacity": 4, "beta": 1.0},
    mask=None,
    draws={"changes": lambda rng, shape: rng.integers(0, 24, shape).astype(np.int32)},
  ),
  Kernel(
    state_graph.reconstruction_loss,
    {"embeddings": "BNE", "adjacency": "BNN", "mask": "BN"},
    gradients=("embeddings",),
    draws={"adjacency": _edges},
    sizes=SIZES,
  ),
]
