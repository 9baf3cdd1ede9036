"""RLOO: REINFORCE leave-one-out (Ahmadian et al. 2024, arXiv 2402.14740, section 2.2).

Idea: the baseline of an answer is the mean reward of the prompt's other answers, which makes it unbiased:

  A_i = r_i - mean_{j != i} r_j = G / (G - 1) (r_i - mean_j r_j)
  loss = 1/B sum_i -min(rho_i A_i, clip(rho_i, 1-e, 1+e) A_i),   rho_i = prod_t rho_t: an answer is one action

The paper takes one step per batch, where the clipped loss has the gradient of REINFORCE; the clip guards further
steps (TRL's form). `ratio="token"` with another aggregation is verl's.

Metrics: those of policy_gradient.py. Config: experiments/rloo.py.
Source: verified in code.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.advantages import group
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's estimator over whole answers."""
  return policy_gradient.get_config() | {
    "ratio": "sequence_sum",
    "aggregation": "sequence_mean_token_mean",  # of a ratio that is the answer's: one loss per answer
    "singleton": "zero",  # advantage of a group of one: "zero", or its "raw" reward
  }


def build(config: ConfigDict, task: Task) -> Method:
  """RLOO from its section of a config."""
  if config.method.singleton == "zero":
    check_answers(config)
  one_of(config.method, "singleton", group.SINGLETONS)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    advantages = group.rloo(
      trajectories.rewards, trajectories.group_ids, trajectories.scored, singleton=config.method.singleton
    )
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("2402.14740",))
