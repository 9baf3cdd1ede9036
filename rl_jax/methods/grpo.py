"""GRPO: group relative policy optimisation (DeepSeekMath, arXiv 2402.03300, section 4.1).

Idea: the mean reward of a prompt's answers replaces the critic. For the G answers of one prompt

  A_i = (r_i - mean_j r_j) / (std_j r_j + eps)                                                    (section 4.1.2)
  loss = 1/G sum_i 1/|o_i| sum_t [ -min(rho_t A_i, clip(rho_t, 1-e, 1+e) A_i) + beta k3_t ]       (eq. 3 and 4)

Groups of equal rewards and unscored rows have advantage 0. The paper averages over each answer first, and so favours
short right and long wrong answers (dr_grpo.py corrects this).

Metrics: those of policy_gradient.py. Config: experiments/grpo.py.
Source: verified in code.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, Range
from rl_jax.kernels.advantages import group
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options: e = 0.2, beta = 0.04, mean over each answer, then over answers."""
  return policy_gradient.get_config() | {
    "aggregation": "sequence_mean_token_mean",
    "kl_coefficient": 0.04,
    "scale": "group",  # divisor: std of the "group", of the "batch", or "none"
    "ddof": 1,  # the libraries' std; the paper writes ddof 0
    "epsilon": 1e-6,
  }


RANGES = {"ddof": Range(0, 1, whole=True), "epsilon": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """GRPO from its section of a config."""
  check_answers(config)
  m = config.method
  one_of(m, "scale", ("group", "batch", "none"))

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.scored
    advantages = group.grpo(*rows, scale=m.scale, ddof=m.ddof, eps=m.epsilon, singleton="zero")
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("2402.03300",))
