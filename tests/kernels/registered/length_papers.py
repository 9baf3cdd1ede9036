"""Rewards under a maximal length (DLER, SIRI) and limits by difficulty (DA-DLER)."""

from __future__ import annotations

from rl_jax.kernels.rewards import length
from tests.kernels.kernel import Kernel

DRAWS = {"limits": lambda rng, shape: rng.integers(0, 300, shape).astype("int32")}

KERNELS = [
  Kernel(
    length.truncation_reward,
    {"rewards": "B", "lengths": "B", "mask": "B", "limits": "B"},
    {"overlong_factor": 0.1},
    draws=DRAWS,
  ),
  Kernel(
    length.difficulty_limits,
    {"correct": "B", "group_ids": "B", "mask": "B"},
    {"thresholds": (0.3, 0.6), "limits": (400, 300, 200)},
    scope="group",
    zero_masked=False,
  ),
]
