"""Dr. GRPO: GRPO without its two biased divisions (Liu et al. 2025, arXiv 2503.20783, section 3).

Idea: two divisions bias GRPO. Division by |o_i| favours long wrong answers; division by the group's std favours prompts
that are nearly solved or nearly hopeless. Dr. GRPO leaves both out:

  A_i = r_i - mean_j r_j
  loss = 1/B sum_i 1/L sum_t -min(rho_t A_i, clip(rho_t, 1-e, 1+e) A_i),   L a constant: the response limit

Metrics: those of policy_gradient.py. Config: experiments/dr_grpo.py.
Source: verified in code.
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
  """The paper's options: no KL, a constant length."""
  return policy_gradient.get_config() | {"aggregation": "sequence_mean_constant"}


def build(config: ConfigDict, task: Task) -> Method:
  """Dr. GRPO from its section of a config."""
  check_answers(config)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.scored
    advantages = group.dr_grpo(*rows, singleton="zero")
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("2503.20783",))
