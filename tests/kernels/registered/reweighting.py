"""Weights of prompt groups (ADORA)."""

from __future__ import annotations

from rl_jax.kernels.advantages import reweighting
from tests.kernels.kernel import Kernel

ROWS = {"rewards": "B", "lengths": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(reweighting.adora_weights, ROWS, {"combine": "or"}, scope="group"),
  Kernel(reweighting.adora_damping, ROWS, {"length_cap": 200.0}, scope="group"),
  Kernel(
    reweighting.adora, {"rewards": "B", "group_weights": "B", "group_ids": "B", "mask": "B"}, scope="group"
  ),
]
