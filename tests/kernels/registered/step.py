"""SPAE's advantage."""

from __future__ import annotations

from rl_jax.kernels.advantages import step
from tests.kernels.kernel import Kernel

POTENTIALS = {"potentials": "BS", "mask": "BS"}
SPAE = {
  "rewards": "B",
  "group_ids": "B",
  "mask": "B",
  "potentials": "BS",
  "step_mask": "BS",
  "step_ids": "BT",
  "token_mask": "BT",
}
COVERS = {"potentials": "step_mask", "step_ids": "token_mask"}

KERNELS = [
  Kernel(step.saturation_factors, POTENTIALS, {"threshold": 0.1}),
  Kernel(step.potential_gains, POTENTIALS),
  Kernel(step.exponential_shaping, {"gains": "BS", "mask": "BS"}, scope="batch"),
  Kernel(step.spae, SPAE, {"threshold": 0.1}, scope="batch", covers=COVERS),
  Kernel(step.spae, SPAE, {"threshold": 0.1, "normalization": "none"}, scope="batch"),
]
