"""Replay in groups without variance, and reflection (R3)."""

from __future__ import annotations

from rl_jax.kernels.advantages import replay as advantages
from rl_jax.kernels.curricula import replay as curricula
from tests.kernels.kernel import Kernel

MIXED = {"rewards": "B", "group_ids": "B", "mask": "B"}
DRAWS = {
  "buffer_correct": lambda rng, shape: rng.integers(0, 2, shape).astype("float32"),
  "correct": lambda rng, shape: rng.random(shape) < 0.1,
}

KERNELS = [
  Kernel(advantages.r3_mixed, MIXED, {"alpha": 1.2}, scope="group"),
  Kernel(
    curricula.replay_slots,
    {"correct": "B", "buffer_correct": "BH", "buffer_mask": "BH", "group_ids": "B", "mask": "B"},
    scope="group",
    covers={"buffer_correct": "buffer_mask"},
    draws=DRAWS,
    sizes={"H": 4},
  ),
  Kernel(
    curricula.needs_reflection,
    {"buffer_correct": "BH", "buffer_mask": "BH"},
    mask="buffer_mask",
    draws=DRAWS,
    sizes={"H": 4},
  ),
]
