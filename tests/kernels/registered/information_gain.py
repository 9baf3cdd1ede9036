"""IGPO."""

from __future__ import annotations

from rl_jax.kernels.advantages import turn
from rl_jax.kernels.rewards import information_gain
from tests.kernels.kernel import Kernel

GAINS = {"beliefs": "BS", "outcome_rewards": "B", "mask": "BS"}
TURNS = {"turn_rewards": "BS", "group_ids": "B", "mask": "BS"}

KERNELS = [
  Kernel(
    information_gain.log_beliefs,
    {"answer_logprobs": "BSL", "mask": "BS", "answer_mask": "BL"},
    sizes={"L": 3},
  ),
  Kernel(information_gain.information_gain_rewards, GAINS),
  Kernel(information_gain.information_gain_rewards, GAINS, {"gain": "log_prob_diff"}),
  Kernel(information_gain.curriculum_weights, {"progress": ""}, mask=None, scope="batch"),
  Kernel(turn.normalize_turn_rewards, TURNS, {"mode": "separate", "outcome_weight": 0.5}, scope="group"),
  Kernel(turn.normalize_turn_rewards, TURNS, {"scale": False}, scope="group"),
  Kernel(turn.igpo, TURNS, {"discount": 0.9}, scope="group"),
]
