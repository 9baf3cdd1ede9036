"""The shared parts and the baselines."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels import reductions, scans, segments
from rl_jax.kernels.advantages import group, returns
from rl_jax.kernels.curricula import filters
from rl_jax.kernels.logprobs import reference
from rl_jax.kernels.losses import divergence, policy, preference, supervised, value
from rl_jax.kernels.rewards import length
from tests.kernels.kernel import Kernel

ROWS = {"rewards": "B", "group_ids": "B", "mask": "B"}
POLICY = {"logprobs": "BT", "old_logprobs": "BT", "advantages": "BT", "mask": "BT"}
GROUPED = {"x": "B", "group_ids": "B", "mask": "B"}
WEIGHTED = {"x": "B", "group_ids": "B", "weights": "B"}
POOLED = {"x": "BS", "group_ids": "B", "weights": "BS"}
STEPS = {"x": "BS", "group_ids": "B", "mask": "BS"}
SEGMENTED = {"x": "BT", "segment_ids": "BT", "mask": "BT"}


def _grpo(**options):
  scope = "batch" if options.get("scale") == "batch" else "group"
  return Kernel(group.grpo, ROWS, options, scope=scope)


def _policy(**options):
  return Kernel(policy.policy_gradient, POLICY, options, gradients=("logprobs",))


def _kl(**options):
  return Kernel(
    divergence.kl, {"logprobs": "BT", "ref_logprobs": "BT", "mask": "BT"}, options, gradients=("logprobs",)
  )


def _aggregate(mode, **options):
  return Kernel(
    reductions.aggregate,
    {"losses": "BT", "weights": "BT"},
    {"mode": mode, **options},
    mask="weights",
    scope="batch" if mode == "constant" else "row",
    gradients=("losses",),
  )


def _densify(lengths, tokens):
  return reductions.densify(lengths, tokens)


def _whole_scan(x):
  return scans.reverse_scan(lambda c, x_t: (c + x_t, c * x_t), jnp.zeros(x.shape[0], x.dtype), x)


KERNELS = [
  Kernel(reductions.widen, {"x": "BT"}, mask=None, gradients=("x",)),
  Kernel(reductions.zero_masked, {"x": "BT", "mask": "BT"}, gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, mask="weights", gradients=("x",)),
  Kernel(reductions.masked_mean, {"x": "BT", "weights": "BT"}, {"axis": 1}, mask="weights", gradients=("x",)),
  Kernel(reductions.per_token, {"x": "B", "mask": "BT"}, gradients=("x",)),
  Kernel(_densify, {"lengths": "B", "tokens": "B"}, mask=None, scope="batch", public=reductions.densify),
  Kernel(reductions.group_sum, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_mean, WEIGHTED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_is_constant, GROUPED, scope="group", zero_masked=False),
  Kernel(reductions.group_deviations, GROUPED, scope="group", gradients=("x",)),
  Kernel(reductions.group_std, GROUPED, scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_mean, POOLED, mask="weights", scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.group_size, {"group_ids": "B", "mask": "B"}, scope="group", zero_masked=False),
  Kernel(reductions.group_std, STEPS, scope="group", gradients=("x",), zero_masked=False),
  Kernel(reductions.standardize, GROUPED, scope="group", gradients=("x",)),
  Kernel(reductions.standardize, STEPS, scope="group", gradients=("x",)),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, scope="batch", gradients=("x",)),
  Kernel(reductions.whiten, {"x": "BT", "mask": "BT"}, {"form": "openrlhf"}, scope="batch", gradients=("x",)),
  _aggregate("token_mean"),
  _aggregate("sequence_mean_token_mean"),
  _aggregate("sequence_mean_token_sum"),
  _aggregate("sequence_mean_constant", constant=4.0),
  _aggregate("constant", constant=4.0),
  Kernel(_whole_scan, {"x": "BT"}, mask=None, gradients=("x",), public=scans.reverse_scan),
  Kernel(scans.values_after, {"a": "BT", "b": "BT", "last": "B"}, mask=None, gradients=("a", "b", "last")),
  Kernel(scans.linear_recurrence, {"a": "BT", "b": "BT", "mask": "BT"}, gradients=("a", "b")),
  Kernel(scans.discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9}, gradients=("x",)),
  Kernel(scans.discounted_sums, {"x": "BT", "mask": "BT"}, {"discount": 0.9, "gaps": "reset"}, gradients=("x",)),
  Kernel(
    scans.move_to_trainable,
    {"rewards": "BT", "mask": "BT", "attention_mask": "BT"},
    mask="attention_mask",
    gradients=("rewards",),
    zero_masked=False,
  ),
  Kernel(segments.segment_sum, SEGMENTED, {"num_segments": 4}, gradients=("x",), zero_masked=False),
  Kernel(segments.segment_mean, SEGMENTED, {"num_segments": 4}, gradients=("x",), zero_masked=False),
  Kernel(segments.segment_lengths, {"segment_ids": "BT", "mask": "BT"}, {"num_segments": 4}, zero_masked=False),
  Kernel(segments.on_tokens, {**SEGMENTED, "x": "BS"}, gradients=("x",)),
  Kernel(segments.segment_ends, {"segment_ids": "BT", "mask": "BT"}),
  Kernel(segments.last_token, {"mask": "BT"}),
  _grpo(),
  _grpo(scale="batch"),
  _grpo(scale="none", singleton="zero"),
  _grpo(ddof=0),
  Kernel(group.dr_grpo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, scope="group"),
  Kernel(group.rloo, ROWS, {"singleton": "zero"}, scope="group"),
  Kernel(group.opo, {**ROWS, "lengths": "B"}, scope="group"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, scope="batch"),
  Kernel(group.gdpo, {**ROWS, "rewards": "BK"}, {"normalization": "none"}, scope="group"),
  Kernel(group.reinforce_pp_baseline, {**ROWS, "token_mask": "BT"}, scope="batch"),
  Kernel(group.remax, {"token_rewards": "BT", "baselines": "B", "mask": "BT"}),
  Kernel(
    returns.gae,
    {"token_rewards": "BT", "values": "BT", "mask": "BT", "lam": "B", "bootstrap": "B"},
    {"discount": 0.9},
  ),
  Kernel(returns.length_adaptive_lambda, {"lengths": "B"}, mask=None),
  Kernel(returns.reinforce_pp, {"token_rewards": "BT", "mask": "BT"}, scope="batch"),
  _policy(),
  _policy(dual_clip=3.0, clip_high=0.28),
  _policy(clip="none"),
  Kernel(policy.cispo, POLICY, gradients=("logprobs",)),
  _policy(ratio="sequence", clip_low=3e-4, clip_high=4e-4),
  _policy(ratio="sequence_sum"),
  Kernel(
    policy.truncated_importance_weights, {"old_logprobs": "BT", "behaviour_logprobs": "BT", "mask": "BT"}
  ),
  _kl(value="k1"),
  _kl(value="k2"),
  _kl(value="k3", log_ratio_clamp=20.0, value_clamp=10.0),
  _kl(value="k1", gradient="k3"),
  _kl(value="k3", gradient="k2"),
  Kernel(
    divergence.adaptive_kl_coefficient,
    {"coefficient": "", "kl_value": ""},
    {"target": 0.1, "horizon": 100.0},
    mask=None,
    scope="batch",
  ),
  Kernel(
    value.value_loss,
    {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"},
    gradients=("values",),
  ),
  Kernel(value.value_loss, {"values": "BT", "old_values": "BT", "returns": "BT", "mask": "BT"}, {"clip": None}),
  Kernel(supervised.negative_log_likelihood, {"logprobs": "BT", "mask": "BT"}, gradients=("logprobs",)),
  Kernel(
    supervised.positive_example_nll, {"logprobs": "BT", "correct": "B", "mask": "BT"}, gradients=("logprobs",)
  ),
  Kernel(
    preference.dpo,
    dict.fromkeys(
      ["chosen_logprobs", "rejected_logprobs", "ref_chosen_logprobs", "ref_rejected_logprobs", "mask"], "B"
    ),
    {"label_smoothing": 0.1},
    gradients=("chosen_logprobs", "rejected_logprobs"),
  ),
  Kernel(length.overlong_penalty, {"lengths": "B"}, {"max_length": 200, "buffer": 50}, mask=None),
  Kernel(filters.informative_groups, {"metric": "B", "group_ids": "B", "mask": "B"}, scope="group"),
  Kernel(
    reference.token_logprobs,
    {"logits": "BTV", "tokens": "BT", "mask": "BT"},
    {"temperature": 0.7},
    gradients=("logits",),
  ),
  Kernel(reference.categorical, {"logits": "BTV", "tokens": "BT"}, mask=None, gradients=("logits",)),
  Kernel(reference.align, {"x": "BT"}, mask=None, gradients=("x",)),
]
