"""The baselines against reference numbers from NumPy re-implementations of verl, TRL and the papers."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.kernels.advantages import group, returns
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import cispo, policy_gradient
from rl_jax.kernels.losses.preference import dpo
from rl_jax.kernels.losses.supervised import positive_example_nll
from rl_jax.kernels.losses.value import value_loss
from rl_jax.kernels.reductions import aggregate, per_token, whiten
from rl_jax.kernels.rewards.length import overlong_penalty
from tests.kernels.kernel import quick_jit
from tests.kernels.papers.as_released import restarting_sums

AGGREGATIONS = {
  "token-mean": dict(mode="token_mean"),
  "seq-mean-token-mean": dict(mode="sequence_mean_token_mean"),
  "seq-mean-token-sum": dict(mode="sequence_mean_token_sum"),
  "seq-mean-token-sum-norm": dict(mode="constant", constant=5),
}

# verl leaves the sum of later rewards on a masked slot; here masked slots hold 0.
MASKED = {("token_level_gae_reinforcepp_remax_vapo", "remax"): "mask"}


def compute(case, inputs):
  kinds = {
    "token_level_gae_reinforcepp_remax_vapo": token_level,
    "vapo_lambda_table": lambda alpha, lengths: {"lambda": returns.length_adaptive_lambda(lengths, alpha=alpha)},
    "policy_losses": policy_losses,
    "value_loss": value_losses,
    "gdpo": gdpo,
    "dapo_overlong": lambda lengths, max_len, cache: {
      "penalty": overlong_penalty(lengths, max_length=max_len, buffer=cache)
    },
    "dpo": preference,
  }
  scalars = {name: value for name, value in inputs.items() if not isinstance(value, jax.Array)}
  arrays = {name: value for name, value in inputs.items() if name not in scalars}
  outputs = quick_jit(partial(kinds.get(case, group_level), **scalars))(**arrays)
  if "dapo_kept_groups" in outputs:
    outputs["dapo_kept_groups"] = np.unique(np.asarray(arrays["group_ids"])[np.asarray(outputs["dapo_kept_groups"])])
  return outputs


def group_level(rewards, group_ids, mask):
  scored = jnp.ones(rewards.shape, bool)
  args = rewards, group_ids, scored
  return {
    "grpo_verl": group.grpo(*args),
    "grpo_trl": group.grpo(*args, eps=1e-4, singleton="zero"),
    "grpo_population_std": group.grpo(*args, ddof=0),
    "dr_grpo": group.dr_grpo(*args),
    "rloo": group.rloo(*args),
    "rloo_singleton_zero": group.rloo(*args, singleton="zero"),
    "opo": group.opo(rewards, group_ids, mask.sum(axis=1), scored),
    "reinforce_pp_baseline_tokens": group.reinforce_pp_baseline(*args, mask),
    "dapo_kept_groups": informative_groups(*args),
  }


def token_level(token_rewards, values, mask, reward_baselines, vapo_alpha):
  raw = returns.gae(token_rewards, values, mask, lam=0.95)
  discounted = returns.gae(token_rewards, values, mask, discount=0.99, lam=0.9)
  lam = returns.length_adaptive_lambda(mask.sum(axis=1), alpha=vapo_alpha)
  restarted = restarting_sums(token_rewards, mask)
  return {
    "gae_1_095_raw": raw.advantages,
    "gae_1_095_returns": raw.returns,
    "gae_1_095_whitened": whiten(raw.advantages, mask),
    "gae_099_09_raw": discounted.advantages,
    "gae_099_09_returns": discounted.returns,
    "vapo_lambda": lam,
    "vapo_policy_adv_raw": returns.gae(token_rewards, values, mask, lam=lam).advantages,
    "vapo_critic_returns_lambda1": returns.gae(token_rewards, values, mask).returns,
    "reinforce_pp": whiten(restarted, mask, form="verl"),
    "reinforce_pp_returns_masked": restarted,
    "remax": group.remax(token_rewards, reward_baselines, mask),
  }


def policy_losses(logprobs, old_logprobs, ref_logprobs, seq_advantages, mask):
  advantages = per_token(seq_advantages, mask)

  token_mean, sequence_mean = AGGREGATIONS["token-mean"], AGGREGATIONS["seq-mean-token-mean"]
  lengths = mask.sum(axis=1, keepdims=True)

  def mean(losses, aggregation, epsilon):
    # verl divides a row's sum by its length + 1e-8, which 1e-10 can tell from the mean.
    scale = lengths / (lengths + epsilon) if aggregation == sequence_mean else 1.0
    return aggregate(losses * scale, mask, **aggregation).value

  def loss(options, aggregation, function=policy_gradient):
    epsilon = 0.0 if options.get("ratio") == "sequence" else 1e-8
    return lambda x: mean(function(x, old_logprobs, advantages, mask, **options).losses, aggregation, epsilon)

  def divergence(name, aggregation):
    return mean(kl(logprobs, ref_logprobs, mask, value=name), aggregation, 1e-8)

  losses = {f"ppo_clip_0.2_{name}": loss({}, aggregation) for name, aggregation in AGGREGATIONS.items()} | {
    "ppo_clip_0.2_trl-dr_grpo_maxlen5": loss({}, dict(mode="sequence_mean_constant", constant=5)),
    "ppo_dualclip3_0.2_token-mean": loss(dict(dual_clip=3.0), token_mean),
    "dapo_0.2_0.28_token-mean": loss(dict(clip_high=0.28), token_mean),
    "gspo_3e-4_4e-4": loss(dict(ratio="sequence", clip_low=3e-4, clip_high=4e-4), sequence_mean),
    "gspo_0.2_0.2": loss(dict(ratio="sequence"), sequence_mean),
    "cispo_verl_upper1.2_nolower": loss(dict(clip_high=1.2), token_mean, cispo),
    "cispo_trl_upper5": loss({}, token_mean, cispo),
  }
  without_gradient = {"ppo_clip_0.2_trl-dr_grpo_maxlen5", "cispo_trl_upper5"}
  pairs = {name: jax.value_and_grad(f)(logprobs) for name, f in losses.items()}
  return {
    **{name: loss for name, (loss, _) in pairs.items()},
    **{f"{name}_grad": gradient for name, (_, gradient) in pairs.items() if name not in without_gradient},
    "gspo_seq_ratio": policy_gradient(logprobs, old_logprobs, advantages, mask, ratio="sequence").ratios[:, 0],
    **{
      f"kl_{name}_{aggregation}": divergence(name, AGGREGATIONS[aggregation])
      for name in ("k1", "k2", "k3")
      for aggregation in ("token-mean", "seq-mean-token-mean")
    },
    "grpo_paper_total_beta0.04": pairs["ppo_clip_0.2_seq-mean-token-mean"][0] + 0.04 * divergence("k3", sequence_mean),
    "positive_nll_correct_0_2": positive_example_nll(logprobs, jnp.array([True, False, True, False]), mask).value,
  }


def value_losses(vpreds, old_values, returns, mask):
  def mean(clip):
    return aggregate(value_loss(vpreds, old_values, returns, mask, clip=clip), mask, mode="token_mean").value

  return {"clip_0.5": mean(0.5), "clip_0.2": mean(0.2), "clip_1e9_is_plain_half_mse": mean(None)}


def gdpo(rewards_k, weights, group_ids, mask):
  scored = jnp.ones(group_ids.shape, bool)
  args = rewards_k, group_ids, scored
  unit = group.gdpo(*args, normalization="none", eps=1e-6)
  return {
    "gdpo_trl": group.gdpo(*args, weights=weights),
    "gdpo_pre_batch_norm": group.gdpo(*args, weights=weights, normalization="none"),
    "gdpo_verl_unit_weights_tokens": whiten(per_token(unit, mask), mask),
  }


def preference(chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, beta):
  args = chosen_logps, rejected_logps, ref_chosen_logps, ref_rejected_logps, jnp.ones(chosen_logps.shape, bool)
  per_pair = dpo(*args, beta=beta).losses
  return {
    "per_pair": per_pair,
    "mean": per_pair.mean(),
    "cdpo_0.1": dpo(*args, beta=beta, label_smoothing=0.1).losses,
  }
