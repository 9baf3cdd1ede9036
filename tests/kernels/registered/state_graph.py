"""G4RL's graph of states, its rewards and its encoder's loss; the distance between graphs."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.analysis import graph_spectrum, state_graph
from rl_jax.kernels.rewards import goals
from tests.kernels.kernel import Kernel

SIZES = {"D": 2, "E": 3, "N": 3}


def _observe(features, mask, *, eps, replace):
  graph = state_graph.empty_graph(features, capacity=2)
  return state_graph.observe(graph, features, mask, eps=eps, replace=replace)


def _edges(rng, shape):
  counts = np.triu(rng.integers(0, 3, shape), k=1)
  return (counts + np.swapaxes(counts, -1, -2)).astype(np.float32)


def _distance(**arrays):
  return graph_spectrum.laplacian_distance(**arrays, k=3)


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
  Kernel(
    goals.g4rl_high_level,
    {"rewards": "BT", "embeddings": "BTE", "goal_embeddings": "BTE", "mask": "BT"},
    {"alpha": 0.5},
    sizes=SIZES,
  ),
  Kernel(
    goals.g4rl_low_level,
    {
      "next_features": "BTD",
      "goal_features": "BTD",
      "next_embeddings": "BTE",
      "goal_embeddings": "BTE",
      "mask": "BT",
    },
    {"alpha": 0.5},
    sizes=SIZES,
  ),
  Kernel(
    graph_spectrum.laplacian_spectrum,
    {"adjacency": "BNN", "mask": "BN"},
    draws={"adjacency": _edges},
    sizes=SIZES,
    zero_masked=False,  # eigenvalues fill the first slots, whichever nodes exist
  ),
  Kernel(
    _distance,
    {"adjacency": "BNN", "other_adjacency": "BMM", "mask": "BN", "other_mask": "BM"},
    covers={"other_adjacency": "other_mask"},
    draws={"adjacency": _edges, "other_adjacency": _edges},
    sizes={**SIZES, "M": 4},
    public=graph_spectrum.laplacian_distance,
  ),
]
