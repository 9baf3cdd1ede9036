"""SLATE: step rewards, advantages and commitment within the candidates of one prefix, and the objective over steps."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.advantages import candidates
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import masked_mean, per_token
from rl_jax.kernels.rewards.judged_step import judged_step_reward


def compute(case, inputs):
  if "r_think" in inputs:
    return step_rewards(**inputs)
  return loss(**inputs) if "logprobs" in inputs else one_prefix(**inputs)


def step_rewards(r_think, r_action, is_answer, t, budget=4, lambda_bonus=0.1):
  mask = jnp.ones(r_think.shape, bool)
  args = r_think, r_action, is_answer, jnp.full(r_think.shape, t), mask
  return {"rewards": judged_step_reward(*args, budget=budget, bonus=lambda_bonus)}


def one_prefix(rewards, valid=None, eta=0.7):
  group_ids = jnp.full(rewards.shape, 7)
  mask = jnp.ones(rewards.shape, bool) if valid is None else valid != 0
  advantages = candidates.slate(rewards, group_ids, mask)
  return {
    "advantages": advantages,
    "selection_probs": candidates.commit_probabilities(advantages, group_ids, mask, temperature=eta),
  }


def loss(logprobs, old_logprobs, ref_logprobs, mask, advantages, step_valid, clip_eps=0.2, beta=0.001):
  steps, count, length = logprobs.shape
  rows = lambda x: x.reshape(-1, length)
  group_ids, visited = jnp.repeat(jnp.arange(steps), count), jnp.repeat(step_valid != 0, count)
  tokens = rows(mask) * visited[:, None]
  policy = policy_gradient(
    rows(logprobs),
    rows(old_logprobs),
    per_token(advantages.reshape(-1), tokens),
    tokens,
    clip_low=clip_eps,
    clip_high=clip_eps,
  )
  weights = candidates.candidate_weights(group_ids, visited)
  mean_over_steps = lambda x: masked_mean(masked_mean(x, tokens, axis=1).value, weights).value
  objective = -mean_over_steps(policy.losses)
  divergence = mean_over_steps(kl(rows(logprobs), rows(ref_logprobs), tokens))
  return {"objective": objective, "kl": divergence, "loss": -objective + beta * divergence}
