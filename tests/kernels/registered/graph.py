"""SALT."""

from __future__ import annotations

from rl_jax.kernels.advantages import graph
from tests.kernels.kernel import Kernel


def _ids(rng, shape):
  return rng.integers(0, 2, shape).astype("int32")


EDGES = {"advantages": "B", "group_ids": "B", "states": "BS", "actions": "BS", "next_states": "BS", "mask": "BS"}
DRAWS = {"states": _ids, "actions": _ids, "next_states": _ids}

KERNELS = [
  Kernel(graph.salt, EDGES, scope="group", draws=DRAWS),
  Kernel(graph.salt, EDGES, {"history": 2}, scope="group", draws=DRAWS),
]
