"""DLER: truncation as length penalty, advantages normalised over the batch (arXiv 2510.15110).

Idea: the simplest length penalty, no reward for an answer that is unfinished after L tokens, costs accuracy because of
the optimiser around it. Cut answers make the rewards of a group vary, which biases advantages divided by the group's
std: divide by the batch's std. A symmetric clip removes exploratory tokens: widen it above. Groups of equal rewards,
all 0 early and all 1 late, have no gradient: sample until enough groups have both.

  r'_i = r_i if the answer is finished within L tokens, else 0                                     (section 3)
  keep a group iff its r' differ
  A_i = r'_i - mean_j r'_j, less the mean of all A and divided by their std, of the kept groups    (eq. 3)
  loss = - sum_i sum_t min(rho_t A_i, clip(rho_t, 1 - 0.2, 1 + 0.28) A_i) / sum_i |o_i| + 0.0005 k2

Mean and std are over tokens ("token", as in the code, where long answers count more) or over answers ("sequence"); the
paper does not say. The paper's KL is k2, its script's default k3. The dual clip is the script's. The code also gives
cut answers 0.1 of the reward, which neither the paper nor this method does. It samples until it has all groups; here
missing rows are masked.

L is `target_shares` of the task's response tokens; one half is our choice (the paper: 4000 of 32k). DA-DLER continues
from a policy of DLER with limits by difficulty: answers are sampled up to the largest limit, and count as right up to
that of their prompt, the n-th of `target_shares` where n - 1 of the `difficulty_thresholds` are below the share of
right answers. The paper's is thresholds (0.5,) and twice as many tokens for hard prompts; inferred: a share at the
threshold is hard, and right is what was finished within the largest limit. Held-out prompts are answered with all
response tokens of the task. methods/dler_merge.py is the merge of weights that ends the paper.

Metrics: those of policy_gradient.py and rollouts/dynamic_sampling.py (`reward` is that of the kept groups), and
  reward_within_limit: mean of r'.
  response_limit: mean of L over rows.
Config: experiments/dler.py.
Source: paper and code; limits by difficulty and scope of the merge inferred.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from rl_jax.curricula.length_limits import length_limits
from rl_jax.inputs.ranges import COUNT, SHARE, Range
from rl_jax.kernels.advantages.group import dr_grpo, reinforce_pp_baseline
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.reductions import masked_mean, whiten
from rl_jax.kernels.rewards.length import difficulty_limits, truncation_reward
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.dynamic_sampling import dynamic_sampling
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options, with lengths as shares of the response tokens."""
  return policy_gradient.get_config() | {
    "clip_low": 0.2,
    "clip_high": 0.28,
    "dual_clip": 10.0,
    "kl_coefficient": 0.0005,
    "kl_value": "k2",
    "normalization": "token",  # unit of mean and std; or "sequence"
    "max_rounds": 3,  # largest number of sampling rounds per iteration
    "target_shares": (0.5,),  # shares of the response tokens, the hardest prompts' first
    "difficulty_thresholds": (),  # shares of right answers, ascending, one less than target_shares
  }


RANGES = {"max_rounds": COUNT, "target_shares": Range(0, 1, above=True), "difficulty_thresholds": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """DLER from its section of a config. Raises ValueError for options."""
  check_answers(config)
  m = config.method
  one_of(m, "normalization", ("token", "sequence"))
  thresholds = tuple(m.difficulty_thresholds)
  limits = tuple(max(1, round(share * task.response_tokens)) for share in m.target_shares)
  if len(limits) != len(thresholds) + 1 or list(thresholds) != sorted(thresholds):
    raise ValueError(
      "method.difficulty_thresholds ascend and are one less than method.target_shares, got "
      f"{thresholds} and {tuple(m.target_shares)}"
    )

  def limits_of(trajectories: Trajectories) -> Float[Array, " B"]:
    correct = trajectories.correct & ~trajectories.truncated
    return difficulty_limits(correct, trajectories.group_ids, trajectories.scored, thresholds=thresholds, limits=limits)

  def within_limit(trajectories: Trajectories) -> Float[Array, " B"]:
    needed = jnp.where(trajectories.truncated, jnp.inf, trajectories.response_lengths)
    return truncation_reward(trajectories.rewards, needed, trajectories.scored, limits=limits_of(trajectories))

  def keep(trajectories: Trajectories) -> Bool[Array, " B"]:
    return informative_groups(within_limit(trajectories), trajectories.group_ids, trajectories.scored)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows, scored = (within_limit(trajectories), trajectories.group_ids, trajectories.scored), trajectories.scored
    if m.normalization == "token":
      advantages = reinforce_pp_baseline(*rows, trajectories.trained, singleton="zero")
    else:
      advantages = whiten(dr_grpo(*rows, singleton="zero"), scored)
    metrics = {
      "reward_within_limit": masked_mean(rows[0], scored),
      "response_limit": masked_mean(limits_of(trajectories), scored),
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  respond = policy_gradient.independent(config, task)
  rollout = dynamic_sampling(respond, config.completions_per_prompt, keep, m.max_rounds)
  base = policy_gradient.method(config, task, signal, papers=("2510.15110",), prompts=m.max_rounds, rollout=rollout)
  return dataclasses.replace(base, curriculum=length_limits(base.curriculum, lambda iteration: max(limits)))
