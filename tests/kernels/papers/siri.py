"""SIRI: length schedules, a step at the limit of the schedule, and the efficiency metric."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.curricula.length_schedule import efficiency, length_limit, truncate
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate, per_token
from rl_jax.kernels.rewards.length import truncation_reward
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "acc" in inputs:
    scalars = (jnp.asarray(inputs[name]) for name in ("acc", "length", "acc0", "length0"))
    return {"acc_cr": efficiency(*scalars)}
  inputs = dict(inputs)
  schedule = {"cycle": inputs.pop("cycle"), "longest": inputs.pop("l_max"), "shortest": inputs.pop("l_min")}
  limit = quick_jit(partial(length_limit, kind=inputs.pop("kind"), **schedule))(inputs.pop("t"))
  if not inputs:
    return {"limit": limit.value, "limit_int": limit.tokens}
  return {"limit": limit.tokens, **quick_jit(step)(limit.tokens, **inputs)}


def step(limit, correct, answer_end, group_ids, logprobs, old_logprobs, mask):
  scored = jnp.ones(correct.shape, bool)
  rewards = truncation_reward(correct, answer_end, scored, limits=limit)
  advantages = grpo(rewards, group_ids, scored)
  mask = truncate(mask, limits=limit)
  policy = policy_gradient(logprobs, old_logprobs, per_token(advantages, mask), mask, clip_high=0.28)
  loss = aggregate(policy.losses, mask, mode="sequence_mean_token_mean").value
  return {"rewards": rewards, "advantages": advantages, "mask": mask, "loss": loss}
