"""DLER: the truncation reward, its filter and batch-wise advantages, and the merge of its parameters."""

from __future__ import annotations

from functools import partial

import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages.group import dr_grpo, grpo, reinforce_pp_baseline
from rl_jax.kernels.analysis.merging import update_selective_merge
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import aggregate, whiten
from rl_jax.kernels.rewards.length import difficulty_limits, truncation_reward
from tests.kernels.kernel import quick_jit


def compute(case, inputs):
  if "base" in inputs:
    return merge(**inputs)
  inputs = dict(inputs)
  limit, da = inputs.pop("limit"), inputs.pop("da")
  outputs = quick_jit(partial(step, limit=limit, da=da))(**inputs)
  kept = np.asarray(outputs["keep"])
  after = {name: np.asarray(outputs.pop(name))[kept] for name in list(outputs) if name.endswith("_after_filter")}
  return outputs | (after if kept.any() and not kept.all() else {})


def step(correct, lengths, group_ids, mask, logprobs, old_logprobs, ref_logprobs, *, limit, da):
  scored = jnp.ones(correct.shape, bool)
  if da is None:
    limits = jnp.full(correct.shape, float(limit))
  else:
    limits = difficulty_limits(correct, group_ids, scored, thresholds=da[0], limits=da[1])
  rewards = truncation_reward(correct, lengths, scored, limits=limits)
  keep = informative_groups(rewards, group_ids, scored)
  centred = dr_grpo(rewards, group_ids, scored)
  advantages = reinforce_pp_baseline(rewards, group_ids, scored, mask)
  policy = policy_gradient(logprobs, old_logprobs, advantages, mask, clip_high=0.28, dual_clip=10.0)
  policy_loss = aggregate(policy.losses, mask, mode="token_mean").value

  def loss(estimator):
    divergence = aggregate(kl(logprobs, ref_logprobs, mask, value=estimator), mask, mode="token_mean").value
    return {"policy_loss": policy_loss, "kl": divergence, "total": policy_loss + 5e-4 * divergence}

  return {
    "limits": limits,
    "rewards_truncated": rewards,
    "keep": keep,
    "centred": centred,
    "adv_sequence": whiten(centred, scored),
    "adv_token": advantages,
    "grpo_groupwise": grpo(rewards, group_ids, scored),
    "loss_k2": loss("k2"),
    "loss_k3": loss("k3"),
    "adv_token_after_filter": reinforce_pp_baseline(rewards, group_ids, keep, mask),
    "adv_sequence_after_filter": whiten(dr_grpo(rewards, group_ids, keep), keep),
  }


def merge(base, tuned, keep, scale):
  base, tuned = ({name: jnp.asarray(x) for name, x in parameters.items()} for parameters in (base, tuned))
  merged = partial(update_selective_merge, base, tuned, keep=keep, scale=scale)
  return {scope: merged(scope=scope) for scope in ("global", "per_tensor")}
