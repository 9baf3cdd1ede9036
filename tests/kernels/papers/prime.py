"""PRIME against reference numbers."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages import process
from rl_jax.kernels.curricula.filters import accuracy_filter
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.losses.reward_model import binary_cross_entropy
from rl_jax.kernels.reductions import aggregate, masked_mean
from rl_jax.kernels.rewards.implicit import implicit_rewards, scale_to_unit_return
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import pair_accuracy_by_order, prime_scaled


def compute(case, inputs):
  kinds = {"ppo_clip_token_mean": policy_loss, "grpo_and_reinforce_variants": variants}
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  return quick_jit(partial(kinds.get(case, pipeline), **scalars))(**arrays)


def pipeline(
  prm_logprobs,
  ref_logprobs,
  mask,
  outcome_rewards,
  group_ids,
  beta=0.05,
  batch_norm=True,
  variant="code",
  gamma=1.0,
  gamma_outcome=1.0,
):
  rewards = implicit_rewards(prm_logprobs, ref_logprobs, mask, beta=beta)
  rows = jnp.ones(group_ids.shape, bool)
  normed = scale_to_unit_return(rewards.tokens, mask) if batch_norm else rewards.tokens
  prime = {"code": prime_scaled, "paper": process.prime}[variant]
  result = prime(normed, outcome_rewards, group_ids, rows, mask, discount=gamma, outcome_discount=gamma_outcome)
  return {
    "token_rewards": rewards.tokens,
    "sequence_rewards": rewards.sequences,
    "ce_loss": masked_mean(binary_cross_entropy(rewards.sequences, outcome_rewards, rows), rows).value,
    "pair_accuracy": pair_accuracy_by_order(rewards.sequences, outcome_rewards, group_ids, rows).value,
    "normed_rewards": normed,
    "returns": result.returns,
    "advantages": result.advantages,
    "keep": accuracy_filter(outcome_rewards, group_ids, rows),
  }


def variants(prm_logprobs, ref_logprobs, mask, outcome_rewards, group_ids, beta=0.05):
  rewards = implicit_rewards(prm_logprobs, ref_logprobs, mask, beta=beta).tokens
  rows = jnp.ones(group_ids.shape, bool)
  return {
    "grpo": process.process_grpo(rewards, outcome_rewards, group_ids, rows, mask),
    "reinforce": process.process_reinforce(rewards, outcome_rewards, mask),
  }


def policy_loss(logprobs, old_logprobs, advantages, mask, clip):
  losses = policy_gradient(logprobs, old_logprobs, advantages, mask, clip_low=clip, clip_high=clip).losses
  return {"loss": aggregate(losses, mask, mode="token_mean").value}
