"""PRIME: implicit process rewards."""

from __future__ import annotations

from rl_jax.kernels.rewards import implicit
from tests.kernels.kernel import Kernel

MODELS = {"prm_logprobs": "BT", "ref_logprobs": "BT", "mask": "BT"}

KERNELS = [
  Kernel(implicit.implicit_rewards, MODELS, {"last_token": "zero"}, gradients=("prm_logprobs",)),
  Kernel(implicit.implicit_rewards, MODELS, {"granularity": "whole"}, gradients=("prm_logprobs",)),
  Kernel(implicit.scale_to_unit_return, {"token_rewards": "BT", "mask": "BT"}, scope="batch"),
]
