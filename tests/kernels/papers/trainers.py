"""What the large trainers have against the loops of make_trainers.py."""

from __future__ import annotations

from functools import partial

import jax

from rl_jax.kernels.advantages import gpg, maxrl, optimal_token_baseline, pass_at_k, rae
from rl_jax.kernels.losses import (
  clip_cov,
  dppo,
  gmpo,
  importance_weights,
  kl_cov,
  off_policy_mask,
  policy_gradient,
  rejection_mask,
  sampler_correction,
  sapo,
  vespo,
)
from rl_jax.kernels.reductions import aggregate
from tests.kernels.papers.make_trainers import REJECTIONS, SHARES, WEIGHTS


def compute(case, inputs):
  return CASES[case](**inputs)


def group_estimators(rewards, group_ids, scored):
  args = rewards, group_ids, scored
  return {
    **{f"gpg_{counted}": gpg(*args, counted=counted) for counted in ("varying", "nonzero", "all")},
    "gpg_scaled": gpg(*args, scale="group"),
    "maxrl": maxrl(*args),
    "maxrl_plain": maxrl(*args, eps=0.0),
    **{f"pass_at_{k}": pass_at_k(*args, k=k) for k in (None, 2, 3)},
    "pass_at_k_scaled": pass_at_k(*args, scale="group"),
  }


def role_baselines(rewards, roles, scored, baselines, decay):
  return rae(rewards, roles, scored, baselines, decay=decay)._asdict()


def token_baselines(token_rewards, logprobs, collisions, group_ids, mask, weights):
  run = partial(optimal_token_baseline, token_rewards, logprobs, collisions, group_ids, mask)
  forms = {f"{align}{tail}": (align, bool(tail)) for align in ("slot", "token") for tail in ("", "_zero_tail")}
  return {name: run(align=align, zero_tail=tail) for name, (align, tail) in forms.items()} | {
    "weighted": run(weights=weights, zero_tail=True)
  }


LOSSES = {
  "sapo": (sapo, "sequence_mean_token_mean"),
  "gmpo": (gmpo, "sequence_mean_token_mean"),
  "luspo": (partial(policy_gradient, ratio="sequence", clip_high=0.3), "sequence_mean_token_sum"),
  "vespo": (vespo, "token_mean"),
  "dppo_tv": (dppo, "token_mean"),
  "dppo_kl": (partial(dppo, divergence="kl", clip_low=0.05, clip_high=0.05), "token_mean"),
  "clip_cov": (partial(clip_cov, **SHARES["clip_cov"]), "token_mean"),
  "kl_cov": (partial(kl_cov, **SHARES["kl_cov"]), "token_mean"),
}


def losses(logprobs, old_logprobs, advantages, mask, draws):
  outputs = {}
  for name, (function, mode) in LOSSES.items():
    more = {"draws": draws} if name == "clip_cov" else {}

    def total(x, function=function, mode=mode, more=more):
      return aggregate(function(x, old_logprobs, advantages, mask, **more).losses, mask, mode=mode).value

    outputs[name], outputs[f"{name}_grad"] = jax.value_and_grad(total)(logprobs)
  return outputs


def corrections(logprobs, old_logprobs, advantages, mask, behaviour_logprobs):
  pair = old_logprobs, behaviour_logprobs, mask
  preset = lambda name: sampler_correction(*pair, preset=name)
  return {
    **{name: preset(name).weights for name in WEIGHTS},
    **{name: preset(name).kept for name in REJECTIONS},
    "geometric": importance_weights(*pair, level="geometric", low=0.9, high=1.1),
    **{
      f"k2_{over}": rejection_mask(*pair, statistic="k2", over=over, high=0.05)
      for over in ("token", "every", "sum", "mean")
    },
    "off_policy": off_policy_mask(logprobs, behaviour_logprobs, advantages, mask, threshold=0.05),
  }


CASES = {
  "group_estimators": group_estimators,
  "role_baselines": role_baselines,
  "token_baselines": token_baselines,
  "losses": losses,
  "corrections": corrections,
}
