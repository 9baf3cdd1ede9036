"""GRPO on a learned reward: a frozen reward model pays, and the verifier only measures (arXiv 2402.03300, 2403.01197).

Idea: a reward model r is right on the responses that it has seen, and a policy that climbs it leaves these. The more it
has optimised, as measured by its KL to the start, the less a gain of r says about the true reward, which at last falls
(Gao et al. 2022, arXiv 2210.10760). How far a policy gets before is what a reward model is worth: DMoERM compares
with a single model and with ensembles (arXiv 2403.01197).

  A_i = (r_i - mean_j r_j) / (std_j r_j + eps),  r = r(prompt, response) at the last token; loss of grpo.py

The model is frozen; any with an output `rewards` will do, such as rl_jax/models/reward_experts.py after the stages of
dmoerm.py. Inferred: GRPO in the place of PPO.

Metrics: those of policy_gradient.py, and
  proxy: the learned reward; `reward` is the gold one, and `kl` is their distance on the way: log pi - log pi_start of
    whole responses, mean over rows, in nats.
  proxy_correlation: of learned and gold reward over the rows of the batch; over-optimisation begins where it is gone.
  pairs/…, best_of/…: of the reward model and of the start's responses, see `_reward_evaluations.evaluations`.
Config: experiments/dmoerm.py.
Source: paper; the estimator is inferred.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.analysis.agreement import correlation
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods import _reward_evaluations, _rewards, grpo
from rl_jax.methods.method import Method, ModelRole, Signal
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """GRPO without a KL term, so that nothing but the reward model holds the policy."""
  return grpo.get_config() | _rewards.options() | {"kl_coefficient": 0.0}


RANGES = grpo.RANGES | _rewards.RANGES


def build(config: ConfigDict, task: Task) -> Method:
  """GRPO on the reward model of its section of a config."""
  if not config.method.reward.init_from:
    raise ValueError("method.reward.init_from='' names no reward model: give a stage or run, as in 'fusion#reward'")
  base = grpo.build(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    proxy, used, mask = trajectories.extras["proxy"], trajectories.scored, trajectories.trained
    signal = base.signal(trajectories.replace(rewards=proxy), iteration)
    apart = jnp.where(mask, trajectories.old_logprobs - trajectories.ref_logprobs, 0.0).sum(axis=1)
    metrics = {
      "proxy": masked_mean(proxy, used),
      "kl": masked_mean(apart, trajectories.row_mask),
      "proxy_correlation": Mean(correlation(proxy, trajectories.rewards, used), jnp.float32(1.0)),
    }
    return signal._replace(metrics={**signal.metrics, **metrics})

  models = {"reference": ModelRole(trained=False, init_from="policy"), "reward": _rewards.role(config, ("rewards",))}
  return dataclasses.replace(
    base,
    signal=signal,
    models={**base.models, **models},
    scoring={**base.scoring, "ref_logprobs": ("reference", "logprobs"), "proxy": ("reward", "rewards")},
    evaluations=_reward_evaluations.evaluations(config, task, by="reference"),
    requires=("proxy",),
    papers=("2402.03300", "2403.01197"),
  )
