"""ASPO: the bias on the advantage, and the reward form that it replaces."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp

from rl_jax.kernels.advantages.group import grpo
from rl_jax.kernels.advantages.shaping import aspo, early_tool_reward
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  inputs = dict(inputs)
  return quick_jit(partial(step, delta=inputs.pop("delta"), strength=inputs.pop("k")))(**inputs)


def step(correct, used_tool, first_tool_pos, lengths, group_ids, advantages_correct, *, delta, strength):
  scored = jnp.ones(correct.shape, bool)
  shaped = aspo(
    advantages_correct, correct, used_tool, first_tool_pos, lengths, group_ids, scored, delta=delta, strength=strength
  )
  naive = early_tool_reward(correct, used_tool, first_tool_pos, group_ids, scored)
  return {
    "advantages": shaped.advantages,
    "bias": shaped.bias,
    "naive_rewards_delta-0.5_c1": naive,
    "naive_grpo_advantages": grpo(naive, group_ids, scored),
  }
