"""PRIME: advantages from token rewards and outcomes, and the prompt filter."""

from __future__ import annotations

from rl_jax.kernels.advantages import process
from rl_jax.kernels.curricula import filters
from tests.kernels.kernel import Kernel

ROWS = {"token_rewards": "BT", "outcomes": "B", "mask": "BT"}
GROUPS = {"token_rewards": "BT", "outcomes": "B", "group_ids": "B", "mask": "B", "token_mask": "BT"}
TOKENS = {"token_rewards": "token_mask"}


def _truncated(rng, shape):
  return rng.random(shape) < 0.3


KERNELS = [
  Kernel(process.prime, GROUPS, {"discount": 0.9}, scope="batch", covers=TOKENS),
  Kernel(process.prime, GROUPS, {"variant": "paper", "singleton": "zero"}, scope="batch", covers=TOKENS),
  Kernel(process.process_reinforce, ROWS, {"discount": 0.9}),
  Kernel(process.process_grpo, GROUPS, scope="group", covers=TOKENS),
  Kernel(process.process_ppo, {**ROWS, "values": "BT"}, {"discount": 0.9}),
  Kernel(process.process_value, ROWS, {"lam": 0.9}),
  Kernel(
    filters.accuracy_filter,
    {"outcomes": "B", "group_ids": "B", "mask": "B", "truncated": "B"},
    {"low": -1.0},
    scope="group",
    draws={"truncated": _truncated},
  ),
]
