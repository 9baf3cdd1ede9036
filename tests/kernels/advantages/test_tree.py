from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.advantages import group, tree
from tests.kernels.kernel import Kernel

STAR = jnp.array([[-1, 0, 0, 0, 0]])
LEAVES = jnp.array([[False, True, True, True, True]])
NODES = jnp.ones((1, 5), bool)


def test_values_of_a_deep_tree_are_those_of_the_recursion():
  rng = np.random.default_rng(0)
  parents = np.array([-1] + [rng.integers(max(0, i - 4), i) for i in range(1, 40)])
  is_leaf = ~np.isin(np.arange(40), parents)
  rewards = rng.random(40)

  def value(node):
    return rewards[node] if is_leaf[node] else np.mean([value(child) for child in np.flatnonzero(parents == node)])

  args = jnp.array(rewards)[None], jnp.array(parents)[None], jnp.array(is_leaf)[None], jnp.ones((1, 40), bool)
  np.testing.assert_allclose(tree.tree_values(*args)[0], [value(node) for node in range(40)], rtol=1e-5)
  # 3 levels do not reach the root of this one.
  shallow = tree.tree_values(*args, depth=3)
  assert shallow[0, 39] == jnp.float32(rewards[39]) and shallow[0, 0] != pytest.approx(value(0), abs=1e-3)


def test_a_star_is_a_group():
  rewards = jnp.array([[0.0, 0.1, 0.9, 0.4, 0.4]])
  args = rewards[0, 1:], jnp.zeros(4, jnp.int32), jnp.ones(4, bool)
  plain = tree.spo_tree(rewards, STAR, LEAVES, NODES)
  scaled = tree.spo_tree(rewards, STAR, LEAVES, NODES, scale="group")
  np.testing.assert_allclose(plain.advantages[0, 1:], group.dr_grpo(*args), rtol=1e-6)
  np.testing.assert_allclose(scaled.advantages[0, 1:], group.grpo(*args, ddof=0, eps=1e-8), rtol=1e-6)


@pytest.mark.parametrize("scale", ["none", "group"])
def test_siblings_that_differ_by_rounding_are_equal(scale):
  # The first child is the mean of 1/3 and 2/3, the second a leaf of 1/2, moved by one unit in the last place.
  parents = jnp.array([[-1, 0, 0, 1, 1]])
  is_leaf = jnp.array([[False, False, True, True, True]])
  rewards = jnp.array([[0, 0, np.nextafter(np.float32(0.5), np.float32(1)), 1 / 3, 2 / 3]], jnp.float32)
  result = tree.spo_tree(rewards, parents, is_leaf, NODES, scale=scale)
  assert not result.advantages[0, :3].any() and not result.keep[0, :3].any()
  assert result.keep[0, 3:].all()


def test_a_root_alone_and_an_inner_node_without_children():
  mask = jnp.array([[True, False, False, False, False], [True, True, True, False, False]])
  parents, rewards = jnp.array([[-1, 0, 0, 0, 0], [-1, 0, 0, 2, 2]]), jnp.ones((2, 5))
  is_leaf = jnp.array([[True] * 5, [False, True, False, True, True]])
  result = tree.spo_tree(rewards, parents, is_leaf, mask)
  np.testing.assert_allclose(result.values, [[1, 0, 0, 0, 0], [0.5, 1, 0, 0, 0]])
  np.testing.assert_allclose(result.advantages, [[0, 0, 0, 0, 0], [0, 0.5, -0.5, 0, 0]])


def test_errors():
  with pytest.raises(ValueError, match="unknown scale 'rloo'; known: none, group"):
    tree.spo_tree(jnp.ones((1, 5)), STAR, LEAVES, NODES, scale="rloo")
  with pytest.raises(ValueError, match=r"tree_values: expected arrays of one shape \[B N\]"):
    tree.tree_values(jnp.ones(5), STAR, LEAVES, NODES)


def _parents(rng, shape):
  """A root, and nodes that continue any node before them."""
  return np.stack([rng.integers(0, max(i, 1), shape[:1]) - (i == 0) for i in range(shape[1])], axis=1).astype(np.int32)


def _leaves(rng, shape):
  return np.broadcast_to(np.arange(shape[1]) >= 2, shape).copy()


NODE_AXES = {"rewards": "BS", "parents": "BS", "is_leaf": "BS", "mask": "BS"}
DRAWS = {"parents": _parents, "is_leaf": _leaves}

KERNELS = [
  Kernel(tree.tree_values, NODE_AXES, draws=DRAWS),
  Kernel(tree.spo_tree, NODE_AXES, {"depth": 3}, draws=DRAWS),
  Kernel(tree.spo_tree, NODE_AXES, {"scale": "group"}, draws=DRAWS),
]
