"""DMoERM's reward model."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.layers import experts
from tests.kernels.kernel import Kernel

SIZES = {"D": 3, "Q": 4, "R": 2, "O": 5, "H": 3, "W": 9}  # W = K D, the concatenated experts


def _labels(rng, shape):
  return rng.integers(0, SIZES["Q"], shape).astype(np.int32)


KERNELS = [
  Kernel(experts.last_hidden, {"hidden": "BTD", "mask": "BT"}, gradients=("hidden",), sizes=SIZES),
  Kernel(
    experts.router,
    {"z": "BD", "weight": "QD", "bias": "Q", "mask": "B"},
    gradients=("z", "weight", "bias"),
    sizes=SIZES,
  ),
  Kernel(
    experts.router_cross_entropy,
    {"logits": "BQ", "labels": "B", "mask": "B"},
    gradients=("logits",),
    draws={"labels": _labels},
    sizes=SIZES,
  ),
  Kernel(
    experts.lora,
    {"x": "BD", "weight": "OD", "down": "RD", "up": "OR"},
    {"lora_alpha": 1.0},
    mask=None,
    gradients=("x", "down", "up"),
    sizes=SIZES,
  ),
  Kernel(
    experts.expert_rewards,
    {"zs": "BKD", "weights": "KD", "biases": "K", "mask": "B"},
    gradients=("zs", "biases"),
    draws={"weights": lambda rng, shape: rng.normal(size=shape).astype(np.float32)},
    sizes=SIZES,
  ),
  Kernel(
    experts.fused_reward,
    {
      "zs": "BKD",
      "hidden_weight": "HW",
      "hidden_bias": "H",
      "out_weight": "H",
      "out_bias": "",
      "slope": "",
      "mask": "B",
    },
    gradients=("zs", "hidden_weight", "out_bias", "slope"),
    sizes=SIZES,
  ),
]
