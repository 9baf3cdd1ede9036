"""DVAO and the two combinations that it is compared with."""

from __future__ import annotations

from rl_jax.kernels.advantages import multi_reward
from tests.kernels.kernel import Kernel

REWARDS = {"rewards": "BK", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(multi_reward.reward_combination, REWARDS, scope="group"),
  Kernel(multi_reward.advantage_combination, REWARDS, scope="group"),
  Kernel(multi_reward.dvao, {**REWARDS, "weights": "K"}, scope="group"),
  Kernel(multi_reward.dvao, REWARDS, {"form": "closed", "ddof": 0}, scope="group"),
]
