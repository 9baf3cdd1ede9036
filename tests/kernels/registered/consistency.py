"""COPO."""

from __future__ import annotations

from rl_jax.kernels.advantages import consistency
from rl_jax.kernels.losses import blended
from rl_jax.kernels.reductions import group_mean
from tests.kernels.kernel import Kernel

GROUPS = {"group_ids": "B", "mask": "B"}
ANSWERS = {"answers": "B", **GROUPS}
DRAWS = {
  "answers": lambda rng, shape: rng.integers(-1, 2, shape).astype("int32") * 7,
  "chosen": lambda rng, shape: rng.random(shape) < 0.7,
}


def _between_prompts(rewards, group_ids, mask):
  return consistency.between_prompts(group_mean(rewards, group_ids, mask), group_ids, mask)


KERNELS = [
  Kernel(consistency.consistency_entropy, ANSWERS, scope="group", draws=DRAWS),
  Kernel(consistency.consistency_factor, {"entropy": "B", **GROUPS}, scope="group"),
  Kernel(_between_prompts, {"rewards": "B", **GROUPS}, scope="batch", public=consistency.between_prompts),
  Kernel(
    consistency.blend_weights,
    {"entropy": "B", "chosen": "B", "mask": "B"},
    draws=DRAWS,
  ),
  Kernel(consistency.copo, {"rewards": "B", **ANSWERS}, scope="batch", draws=DRAWS),
  Kernel(
    consistency.copo,
    {"rewards": "B", "chosen": "B", **ANSWERS},
    {"scale_by_consistency": True},
    scope="batch",
    draws=DRAWS,
  ),
  Kernel(
    blended.copo_loss,
    {**dict.fromkeys(["logprobs", "old_logprobs", "local_advantages", "global_advantages"], "BT"), "weights": "B"}
    | {"mask": "BT"},
    gradients=("logprobs",),
  ),
]
