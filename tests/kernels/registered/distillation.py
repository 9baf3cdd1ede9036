"""Distillation: divergences from logits, and advantages from the teacher's logprobs of sampled tokens."""

from __future__ import annotations

import numpy as np

from rl_jax.kernels.advantages import distillation as advantages
from rl_jax.kernels.losses import distillation as losses
from tests.kernels.kernel import Kernel

# N is the vocabulary: these logits are aligned with the tokens, unlike a model's, which axis V stands for.
LOGITS = {"student_logits": "BTN", "teacher_logits": "BTN", "mask": "BT"}
SAMPLED = {"sampler_logprobs": "BT", "teacher_logprobs": "BT", "mask": "BT"}
SIZES = {"N": 11}


def _divergence(function, **options):
  return Kernel(function, LOGITS, options, gradients=("student_logits",), sizes=SIZES)


def _top_k(**options):
  return Kernel(
    losses.top_k_distillation,
    {"student_logits": "BTN", "teacher_logprobs": "BTK", "teacher_tokens": "BTK", "mask": "BT"},
    options,
    gradients=("student_logits",),
    draws={"teacher_tokens": lambda rng, shape: rng.integers(0, SIZES["N"], shape).astype(np.int32)},
    sizes=SIZES,
  )


KERNELS = [
  _divergence(losses.generalized_jsd, temperature=0.7),
  _divergence(losses.forward_kl),
  _divergence(losses.reverse_kl),
  _top_k(),
  _top_k(variant="cross_entropy"),
  Kernel(advantages.opd, SAMPLED, {"discount": 0.9}),
  Kernel(
    advantages.opd_with_rewards,
    {
      "rewards": "B",
      "group_ids": "B",
      "mask": "B",
      "sampler_logprobs": "BT",
      "teacher_logprobs": "BT",
      "token_mask": "BT",
    },
    scope="group",
    covers={"sampler_logprobs": "token_mask", "teacher_logprobs": "token_mask"},
    zero_masked=False,  # unscored rows keep the teacher's part
  ),
  Kernel(advantages.minillm, SAMPLED, {"discount": 0.9, "length_normalized": True}),
]
