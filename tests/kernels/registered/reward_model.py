"""PRIME and PAV: losses and metrics of reward models."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.losses import reward_model
from tests.kernels.kernel import Kernel


def _outcomes(rng, shape):
  """Both sides of every threshold, with ties."""
  return rng.choice([0.0, 0.25, 1.0], shape).astype(np.float32)


LABELS = {"labels": _outcomes}
RANKED = {"scores": "B", "outcomes": "B", "group_ids": "B", "mask": "B"}

KERNELS = [
  Kernel(
    reward_model.binary_cross_entropy,
    {"logits": "BS", "labels": "BS", "mask": "BS"},
    gradients=("logits",),
    draws=LABELS,
  ),
  Kernel(reward_model.class_balanced_weights, {"labels": "B", "mask": "B"}, scope="batch", draws=LABELS),
  Kernel(
    reward_model.detached_dpo,
    {"rewards": "B", "old_rewards": "B", "outcomes": "B", "group_ids": "B", "mask": "B"},
    scope="group",
    gradients=("rewards",),
    draws={"outcomes": _outcomes},
  ),
  Kernel(reward_model.best_of_n_weights, {"scores": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    reward_model.pair_accuracy,
    RANKED,
    scope="group",
    draws={"outcomes": _outcomes, "scores": _outcomes},
  ),
]
