"""A nudge towards early tool calls (ASPO)."""

from __future__ import annotations

from rl_jax.kernels.advantages import shaping
from tests.kernels.kernel import Kernel

ROWS = {"correct": "B", "used_tool": "B", "positions": "B", "group_ids": "B", "mask": "B"}
# With six rows in two groups, some group must have two eligible rows, or every bias is 0.
DRAWS = {
  "correct": lambda rng, shape: rng.random(shape) < 0.8,
  "used_tool": lambda rng, shape: rng.random(shape) < 0.8,
}

KERNELS = [
  Kernel(shaping.aspo, {"advantages": "B", "lengths": "B", **ROWS}, scope="group", draws=DRAWS),
  Kernel(shaping.early_tool_reward, ROWS, scope="group", draws=DRAWS),
]
