"""Losses and labels of reward models from rankings."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.losses import ranking
from tests.kernels.kernel import Kernel

RANKED = {"rewards": "B", "ranks": "B", "group_ids": "B", "mask": "B"}


def _small(rng, shape):
  return rng.integers(1, 4, shape).astype(np.int32)


KERNELS = [
  Kernel(ranking.pairwise_ranking, RANKED, scope="group", gradients=("rewards",), draws={"ranks": _small}),
  Kernel(ranking.ranking_consistency, RANKED, scope="group", draws={"ranks": _small}),
  Kernel(ranking.best_of_n, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    ranking.swap_consistent_ranks,
    {"answers": "B", "swapped_answers": "B", "mask": "B"},
    draws={"answers": _small, "swapped_answers": _small},
  ),
]
