"""A-GRAE."""

from __future__ import annotations

from rl_jax.kernels.advantages import difficulty
from tests.kernels.kernel import Kernel

ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}
DRAWS = {"rewards": lambda rng, shape: rng.integers(0, 2, shape).astype("float32")}

KERNELS = [
  Kernel(difficulty.batch_success_rate, {"rewards": "B", "mask": "B"}, scope="batch", draws=DRAWS),
  Kernel(difficulty.a_grae, ROWS, scope="batch", draws=DRAWS),
  Kernel(difficulty.a_grae, {**ROWS, "correct": "B"}, {"base": "dr_grpo"}, scope="batch"),
  Kernel(difficulty.sign_dominant, ROWS, {"sign": "negative"}, scope="group", draws=DRAWS),
  Kernel(difficulty.difficulty_focused, ROWS, {"focus": "easy"}, scope="group", draws=DRAWS),
]
