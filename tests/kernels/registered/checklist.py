"""Checklist rewards (CM2) and their advantages."""

from __future__ import annotations

from functools import partial

import numpy as np

from rl_jax.kernels.advantages import checklist as advantages
from rl_jax.kernels.rewards import checklist as rewards
from tests.kernels.kernel import Kernel

SIZES = {"L": 2, "C": 3}


def _binary(share):
  return lambda rng, shape: rng.random(shape) < share


DRAWS = {
  "judge": lambda rng, shape: (rng.random(shape) < 0.6).astype(np.float32),
  "dependencies": lambda rng, shape: np.tril(rng.random(shape) < 0.5, -1).astype(np.float32),
  "item_turns": lambda rng, shape: rng.integers(-1, SIZES["L"], shape).astype(np.int32),
  "step_turns": lambda rng, shape: np.sort(rng.integers(0, SIZES["L"], shape), axis=-1).astype(np.int32),
  "eligible": _binary(0.6),
  "satisfied": _binary(0.5),
  "required": _binary(0.5),
  "valid": _binary(0.7),
  "counted": _binary(0.7),
}
JUDGED = {"judge": "BSC", "dependencies": "BCC", "item_turns": "BC", "step_turns": "BS", "step_mask": "BS"}
STEPS = {
  "eligible": "BSC",
  "satisfied": "BC",
  "weights": "BC",
  "group_ids": "B",
  "counted": "BC",
  "step_mask": "BS",
}
TURNS = {"turn_rewards": "BL", "reached": "BL", "group_ids": "B", "mask": "B"}
_kernel = partial(Kernel, draws=DRAWS, sizes=SIZES)

KERNELS = [
  _kernel(rewards.checklist_progress, JUDGED, mask="step_mask"),
  _kernel(
    rewards.checklist_turn_rewards,
    {"satisfied": "BC", "weights": "BC", "item_turns": "BC", "turn_mask": "BL"},
    mask="turn_mask",
  ),
  _kernel(
    rewards.checklist_trajectory_reward,
    {"turn_rewards": "BL", "turn_mask": "BL", "valid": "B"},
    mask="turn_mask",
  ),
  _kernel(
    rewards.turns_passed,
    {"satisfied": "BC", "required": "BC", "item_turns": "BC", "turn_mask": "BL"},
    mask="turn_mask",
  ),
  _kernel(rewards.response_steps, {"mask": "BT"}, zero_masked=False),
  _kernel(advantages.cm2_turn, TURNS, scope="group"),
  _kernel(advantages.cm2_turn, TURNS, {"scale": "group", "min_count": 1}, scope="group"),
  _kernel(advantages.cm2_step, STEPS, mask="step_mask", scope="group", zero_masked=False),
  _kernel(
    advantages.cm2_step,
    STEPS,
    {"scale": "group", "pooling": "sum"},
    mask="step_mask",
    scope="group",
    zero_masked=False,
  ),
]
