"""COPO (arXiv 2508.04138): local and global advantages, and the loss that blends them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages.consistency import blend_weights, copo
from rl_jax.kernels.losses.blended import copo_loss
from rl_jax.kernels.reductions import aggregate, group_sum, per_token
from tests.kernels.kernel import quick_jit

GRADIENTS = ("soft with forced", "soft with zero")


def compute(case, inputs):
  scalars = ("k", "b", "reward_coef", "clip_low", "clip_high", "clip_ratio_c")
  options = {name: inputs.pop(name) for name in scalars}
  return quick_jit(lambda arrays: computed(**arrays, **options))(inputs)


def computed(
  rewards, answers, group_ids, mask, logprobs, old_logprobs, k, b, reward_coef, clip_low, clip_high, clip_ratio_c
):
  scored = jnp.ones(rewards.shape, bool)
  result = copo(rewards, answers, group_ids, scored, gamma=k, rho=b, scale_by_consistency=reward_coef)
  advantages = per_token(result.local, mask), per_token(result.between, mask)
  clips = dict(clip_low=clip_low, clip_high=clip_high, dual_clip=clip_ratio_c)
  forced, zero = result.local != 0, rewards != 0
  modes = {  # of its code, but the last: rows with a local loss, and whether the entropy weighs it
    "no global": (scored, False),
    "only global": (~scored, False),
    "only soft": (scored, True),
    "only forced": (forced, False),
    "soft with forced": (forced, True),
    "only zero": (zero, False),
    "soft with zero": (zero, True),
    "soft with zero group": (group_sum(zero, group_ids, scored) > 0, True),
  }
  outputs = {
    "entropy_bits": result.entropy,
    "global_reward": result.prompt_rewards,
    "local_adv": result.local,
    "global_adv": result.between,
  }
  for name, (chosen, soft) in modes.items():
    weights = blend_weights(result.entropy, chosen, scored, gamma=k, rho=b, soft=soft)

    def loss(x, weights=weights):
      losses = copo_loss(x, old_logprobs, *advantages, weights, mask, **clips).losses
      return aggregate(losses, mask, mode="sequence_mean_token_mean").value

    outputs |= {f"loss[{name}]": loss(logprobs), f"w_local[{name}]": weights}
    if name in GRADIENTS:
      outputs[f"grad[{name}]"] = jax.grad(loss)(logprobs)
  return outputs
