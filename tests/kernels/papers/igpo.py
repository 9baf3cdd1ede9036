"""IGPO: turn rewards from beliefs, their normalisation and accumulation over turns, and their place on tokens."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import turn
from rl_jax.kernels.rewards import information_gain
from rl_jax.kernels.segments import on_tokens


def compute(case, inputs):
  if "gt_logprobs" in inputs:
    return turn_rewards(**inputs)
  return turn_advantages(**inputs) if "turn_rewards" in inputs else broadcast(**inputs)


def turn_rewards(gt_logprobs, gt_mask, num_turns, outcome_reward, info_gain_type):
  mask = jnp.arange(gt_logprobs.shape[0])[None] < num_turns
  beliefs = information_gain.log_beliefs(gt_logprobs[None], mask, gt_mask[None])
  outcome = jnp.full(1, outcome_reward, gt_logprobs.dtype)
  rewards = information_gain.information_gain_rewards(beliefs, outcome, mask, gain=info_gain_type)
  return {"turn_rewards": rewards[0]}


def turn_advantages(
  turn_rewards, num_turns, group_ids, gamma=1.0, norm_mode="joint", norm_adv_by_std=True, w_outcome=1.0, w_ig=1.0
):
  mask = jnp.arange(turn_rewards.shape[1]) < num_turns[:, None]
  args = turn_rewards, group_ids, mask
  options = dict(mode=norm_mode, scale=norm_adv_by_std, outcome_weight=w_outcome, gain_weight=w_ig)
  return {
    "normalized_rewards": turn.normalize_turn_rewards(*args, **options),
    "turn_advantages": turn.igpo(*args, discount=gamma, **options),
  }


def broadcast(turn_advantages, turn_ids, mask):
  return {"advantages": on_tokens(turn_advantages, turn_ids, mask)}
