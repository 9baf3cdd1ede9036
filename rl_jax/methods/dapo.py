"""DAPO: dynamic sampling and a wider upper clip (arXiv 2503.14476).

Idea: GRPO with four changes that keep long runs improving. Groups of only right or only wrong answers have no gradient,
so prompts are sampled until enough groups have both. The upper clip is wider, so that unlikely tokens can grow. Every
token has the same weight, also in long answers. Answers near the length limit are penalised before they are cut.

  keep a group iff 0 < number of its right answers < G                                            (eq. 11)
  A_i = (r_i - mean_j r_j) / std_j r_j,  r_i = 2 y_i + penalty(|o_i|)                              (eq. 9)
  penalty = 0 up to L_max - L_c tokens, then -(|o| - (L_max - L_c)) / L_c, at most -1             (eq. 13)
  loss = - sum_i sum_t min(rho_t A_i, clip(rho_t, 1 - 0.2, 1 + 0.28) A_i) / sum_i |o_i|, no KL     (eq. 8)

The paper's y is -1 or 1; here it is the task's reward, mostly 0 or 1, times `reward_scale`, since constants cancel. Its
code samples up to ten times and then stops with an error; here missing rows are masked.

Metrics: those of policy_gradient.py and rollouts/dynamic_sampling.py (`reward` is that of the kept groups), and
  overlong: mean of -penalty over kept rows.
Config: experiments/dapo.py. Result: experiments/results/credit.md.
Source: verified in code.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, POSITIVE, Range
from rl_jax.kernels.advantages import group
from rl_jax.kernels.curricula.filters import informative_groups
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.rewards.length import overlong_penalty
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers
from rl_jax.rollouts.dynamic_sampling import dynamic_sampling
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options, with lengths as shares of the response tokens (4096 of 20480)."""
  return policy_gradient.get_config() | {
    "clip_low": 0.2,
    "clip_high": 0.28,
    "ddof": 1,  # the code's std; the paper does not say
    "epsilon": 1e-6,
    "max_rounds": 3,  # largest number of sampling rounds per iteration; 10 in the code
    "reward_scale": 2.0,  # difference in reward between a right and a wrong answer
    "overlong_factor": 1.0,  # the largest penalty; 0: none
    "overlong_share": 0.2,  # L_c / L_max
  }


RANGES = grpo.RANGES | {
  "max_rounds": COUNT,
  "reward_scale": POSITIVE,
  "overlong_factor": NOT_NEGATIVE,
  "overlong_share": Range(0, 1, above=True),
}


def build(config: ConfigDict, task: Task) -> Method:
  """DAPO from its section of a config."""
  check_answers(config)
  m = config.method
  buffer = max(1, round(m.overlong_share * task.response_tokens))

  def penalty(trajectories: Trajectories) -> Float[Array, " B"]:
    lengths = trajectories.response_lengths
    return overlong_penalty(lengths, max_length=task.response_tokens, buffer=buffer, factor=m.overlong_factor)

  def keep(trajectories: Trajectories) -> Bool[Array, " B"]:
    return informative_groups(trajectories.correct.astype(jnp.float32), trajectories.group_ids, trajectories.scored)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    late = penalty(trajectories)
    rewards = m.reward_scale * trajectories.rewards + late
    rows = rewards, trajectories.group_ids, trajectories.scored
    advantages = group.grpo(*rows, ddof=m.ddof, eps=m.epsilon, singleton="zero")
    stream = policy_gradient.token_stream(trajectories, advantages)
    return Signal({"policy": stream}, {"overlong": masked_mean(-late, trajectories.row_mask)})

  respond = policy_gradient.independent(config, task)
  rollout = dynamic_sampling(respond, config.completions_per_prompt, keep, m.max_rounds)
  return policy_gradient.method(config, task, signal, papers=("2503.14476",), prompts=m.max_rounds, rollout=rollout)
