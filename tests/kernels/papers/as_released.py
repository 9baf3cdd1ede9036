"""Forms that only reproduce what released code does against its paper: the reference numbers have them too."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from rl_jax.kernels.advantages.checklist import cm2_step
from rl_jax.kernels.advantages.distillation import minillm, opd
from rl_jax.kernels.advantages.process import prime
from rl_jax.kernels.advantages.reweighting import adora_damping
from rl_jax.kernels.layers.experts import router_cross_entropy
from rl_jax.kernels.losses.reward_model import pair_accuracy
from rl_jax.kernels.pareto.constrained import ratio_barrier
from rl_jax.kernels.reductions import (
  group_deviations,
  group_mean,
  group_size,
  masked_mean,
  per_token,
  zero_masked,
)
from rl_jax.kernels.retrieval.losses import margin_mse
from rl_jax.kernels.scans import discounted_sums


def adora_openrlhf(rewards, lengths, group_ids, mask, *, correct_threshold=0.5, length_cap=None, attenuated=0.1):
  """ADORA in OpenRLHF: a group without a correct response keeps weight 1, one without a wrong response never does."""
  options = dict(correct_threshold=correct_threshold, length_cap=length_cap, attenuated=attenuated)
  weights = adora_damping(rewards, lengths, group_ids, mask, **options)
  correct = (mask != 0) & (jnp.asarray(rewards, weights.dtype) > correct_threshold)
  failed = (mask != 0) & ~correct & (True if length_cap is None else lengths < length_cap)
  weights = jnp.where(group_size(group_ids, failed) == 0, attenuated, weights)
  return zero_masked(jnp.where(group_size(group_ids, correct) == 0, 1.0, weights), mask)


def success_rate_over_groups(rewards, group_ids, mask):
  """A-GRAE's omega as the mean of the groups' means, which differs where groups have several sizes."""
  # Each row carries its share of its group, so that every group counts once.
  shares = jnp.where(mask != 0, 1 / jnp.maximum(group_size(group_ids, mask), 1), 0)
  return jnp.clip(masked_mean(group_mean(rewards, group_ids, mask), shares).value, 0, 1)


def prime_scaled(token_rewards, outcomes, group_ids, mask, token_mask, **options):
  """PRIME with K / (K - 1) times the distance of a token's reward from the mean of all K rows, its own included."""
  tokens = (token_mask != 0) & (mask != 0)[:, None]
  size = group_size(group_ids, tokens.any(axis=1))
  factor = per_token(jnp.where(size > 1, size / jnp.maximum(size - 1, 1), 1), tokens)
  means = per_token(masked_mean(token_rewards, tokens, axis=1).value, tokens)
  scaled = means + factor * (zero_masked(token_rewards, tokens) - means)
  return prime(scaled, outcomes, group_ids, mask, token_mask, **options)


def restarting_sums(x, mask, discount=1.0):
  """verl's returns of REINFORCE++: a masked slot, such as a tool's answer, cuts the return of all slots before it."""
  rewards, mask = zero_masked(x, mask), mask != 0
  after, returns = jnp.zeros_like(rewards[:, 0]), []
  for t in reversed(range(x.shape[1])):
    after = zero_masked(rewards[:, t] + discount * after, mask[:, t])
    returns.append(after)
  return jnp.stack(returns[::-1], axis=1)


def cm2_step_sum(eligible, satisfied, weights, group_ids, counted, step_mask, **options):
  """CM2's advantages of steps as sums over the eligible items, not divided by their weights."""
  mean = cm2_step(eligible, satisfied, weights, group_ids, counted, step_mask, **options)
  return mean._replace(advantages=mean.advantages * zero_masked(weights[:, None, :], eligible).sum(axis=2))


class ProgressInOrder(NamedTuple):
  """Progress as `ChecklistProgress`, where an item may be attempted that was not eligible before the step."""

  eligible: jax.Array
  satisfied: jax.Array
  attempted: jax.Array


def checklist_progress_in_order(judge, dependencies, item_turns, step_turns, step_mask):
  """CM2 with the items of a step one after the other: one satisfied in this step already counts as a dependency."""
  judge, needs, satisfied = judge != 0, dependencies != 0, jnp.zeros(item_turns.shape, bool)
  eligible, attempted = [], jnp.zeros(item_turns.shape, bool)
  for step in range(judge.shape[1]):
    present = (step_mask[:, step, None] != 0) & (item_turns >= 0) & (item_turns == step_turns[:, step, None])
    available = lambda satisfied, present=present: present & ~satisfied & (satisfied[:, None, :] | ~needs).all(axis=2)
    eligible.append(available(satisfied))
    for item in range(judge.shape[2]):
      open_ = available(satisfied)[:, item]
      attempted = attempted.at[:, item].max(open_)
      satisfied = satisfied.at[:, item].max(open_ & judge[:, step, item])
  return ProgressInOrder(jnp.stack(eligible, axis=1), satisfied, attempted)


def minillm_trl(sampler_logprobs, teacher_logprobs, mask, *, discount=1.0, length_normalized=False):
  """MiniLLM in TRL: weights discount^i by the slot i of the row; a masked slot counts 1e-4 in the length."""
  if not length_normalized:
    summed = minillm(sampler_logprobs, teacher_logprobs, mask, discount=discount)
    return summed * jnp.asarray(discount, summed.dtype) ** jnp.arange(mask.shape[1])
  summed = opd(sampler_logprobs, teacher_logprobs, mask, discount=discount)
  counted = jnp.where(mask != 0, 1, 1e-4).astype(summed.dtype)
  return zero_masked(summed / discounted_sums(counted, jnp.ones_like(counted), discount=discount), mask)


def double_softmax_cross_entropy(logits, labels, mask):
  """DMoERM's loss of its router: a softmax of probabilities, which cannot fall below log(1 + (Q - 1) / e)."""
  return router_cross_entropy(jax.nn.softmax(logits), labels, mask)


def pair_accuracy_by_order(scores, outcomes, group_ids, mask):
  """PRIME's pair accuracy with ties for the later row: an untrained model scores 0 or 1 by the order of the rows."""
  position = jnp.argsort(jnp.argsort(zero_masked(scores, mask), stable=True))
  return pair_accuracy(position.astype(scores.dtype), outcomes, group_ids, mask)


def whole_ratio_barrier(ratios, returns, mask, *, objective, **options):
  """C-MORL's barrier over all objectives, the maximised one too, and all samples but number `objective`."""
  losses = [ratio_barrier(ratios, returns, mask, objective=i, **options) for i in range(returns.shape[1])]
  # Each leaves out one objective, so their mean is the mean over all of them.
  return masked_mean(sum(losses) / len(losses), (jnp.arange(mask.size) != objective) * mask).value


def first_two_margin_mse(scores, teacher_margins):
  """BPR with GPL in learning-to-hash: the first two documents of the batch as every query's positive and negative."""
  teacher = jnp.stack([teacher_margins, jnp.zeros_like(teacher_margins)], axis=1)
  every = jnp.ones(teacher.shape)
  return margin_mse(scores[:, :2], teacher, every.at[:, 1].set(0), every).mean()


def mean_of_log_distributions(logprobs):
  """HDEE's 'simple average' of K experts [*N K V]: no distribution, unlike `layers.geometric_mixture`."""
  return logprobs.mean(axis=-2)


def episode_means_over_turns(turn_rewards, group_ids, mask):
  """GiGPO's released episode advantage: the mean of the group counts a row once for each of its turns."""
  total = per_token(zero_masked(turn_rewards, mask).sum(axis=1), mask)
  return group_deviations(total, group_ids, mask)
