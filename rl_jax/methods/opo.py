"""OPO: on-policy optimisation with an optimal reward baseline (arXiv 2505.23585).

Idea: the baseline of least variance weighs rewards by the squared norm of each answer's gradient; where that grows with
the length of an answer, it is the mean reward of the group's tokens:

  A_i = r_i - sum_j |o_j| r_j / sum_j |o_j|

without a division by the std. The paper takes one step per batch, exactly on policy, without KL or entropy terms.

Metrics: those of policy_gradient.py. Config: experiments/opo.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.advantages import group
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The estimator in the family's loss."""
  return policy_gradient.get_config()


def build(config: ConfigDict, task: Task) -> Method:
  """OPO from its section of a config."""
  check_answers(config)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.response_lengths, trajectories.scored
    return Signal({"policy": policy_gradient.token_stream(trajectories, group.opo(*rows, singleton="zero"))})

  return policy_gradient.method(config, task, signal, papers=("2505.23585",))
