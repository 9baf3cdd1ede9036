"""SLATE."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.advantages import candidates
from rl_jax.kernels.rewards import judged_step
from tests.kernels.kernel import Kernel

ROWS = {"advantages": "B", "group_ids": "B", "mask": "B"}
STEPS = {"reasoning_scores": "B", "action_scores": "B", "is_answer": "B", "steps": "B", "mask": "B"}

KERNELS = [
  Kernel(
    judged_step.judged_step_reward,
    STEPS,
    draws={
      "is_answer": lambda rng, shape: rng.random(shape) < 0.5,
      "steps": lambda rng, shape: rng.integers(1, 5, shape, np.int32),
    },
  ),
  Kernel(candidates.slate, {"rewards": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(candidates.commit_probabilities, ROWS, scope="group"),
  Kernel(candidates.commit_probabilities, ROWS, {"temperature": 0.0}, scope="group"),
  Kernel(candidates.candidate_weights, {"group_ids": "B", "mask": "B"}, scope="group"),
]
