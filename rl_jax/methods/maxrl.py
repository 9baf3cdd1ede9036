"""MaxRL: maximum likelihood reinforcement learning (arXiv 2602.02710).

Idea: with rewards 0 and 1 a policy solves a prompt with probability p, and reinforcement learning maximises the mean of
p, where maximum likelihood would maximise that of log p. The gradient of log p is that of p divided by p; with the mean
reward of the group in its place

  A_i = (r_i - mean_j r_j) / mean_j r_j,  0 where no answer is right

the expected gradient is that of log p, expanded at p = 1 up to order G - 1. Prompts that are seldom solved weigh most.

Rewards are not negative; a group whose mean is not above 0 has no gradient. The loss is the family's.

Metrics: those of policy_gradient.py. Config: experiments/maxrl.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE
from rl_jax.kernels.advantages import group
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The epsilon of the authors' code, in the family's loss."""
  return policy_gradient.get_config() | {"epsilon": 1e-6}


RANGES = {"epsilon": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """MaxRL from its section of a config."""
  check_answers(config)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.scored
    advantages = group.maxrl(*rows, eps=config.method.epsilon)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("2602.02710",))
