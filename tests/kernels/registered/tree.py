"""SPO-tree."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.advantages import tree
from tests.kernels.kernel import Kernel


def _parents(rng, shape):
  """A root, and nodes that continue any node before them."""
  return np.stack([rng.integers(0, max(i, 1), shape[:1]) - (i == 0) for i in range(shape[1])], axis=1).astype(np.int32)


def _leaves(rng, shape):
  return np.broadcast_to(np.arange(shape[1]) >= 2, shape).copy()


NODES = {"rewards": "BS", "parents": "BS", "is_leaf": "BS", "mask": "BS"}
DRAWS = {"parents": _parents, "is_leaf": _leaves}

KERNELS = [
  Kernel(tree.tree_values, NODES, draws=DRAWS),
  Kernel(tree.spo_tree, NODES, {"depth": 3}, draws=DRAWS),
  Kernel(tree.spo_tree, NODES, {"scale": "group"}, draws=DRAWS),
]
