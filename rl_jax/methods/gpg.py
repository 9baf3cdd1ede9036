"""GPG: group policy gradient (arXiv 2504.02546).

Idea: the plain policy gradient with the group's mean as its baseline, without surrogate, clip or KL. Groups of equal
rewards have no gradient but count in the mean over rows, so that a batch with many of them takes a smaller step: the
factor N / N' mends it.

  A_i = N / N' (r_i - mean_j r_j) / F,  N' the rows that count
  loss = -sum_i sum_t A_i log pi(o_it) / sum_i |o_i|

`counted` says which rows count: "varying", those of groups whose rewards differ (the authors' code); "nonzero", those
with a reward (verl); "all", which leaves the factor out. F is 1, or with `scale` "group" the group's std.

Metrics: those of policy_gradient.py. Config: experiments/gpg.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.kernels.advantages import group
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options: no clip, no KL, no division by the std, mean over all tokens."""
  return policy_gradient.get_config() | {
    "clip": "reinforce",
    "counted": "varying",
    "scale": "none",
    "ddof": 1,  # of the std
    "epsilon": 1e-6,
  }


RANGES = grpo.RANGES


def build(config: ConfigDict, task: Task) -> Method:
  """GPG from its section of a config."""
  check_answers(config)
  m = config.method
  counted, scale = one_of(m, "counted", group.COUNTED), one_of(m, "scale", ("none", "group"))

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    rows = trajectories.rewards, trajectories.group_ids, trajectories.scored
    advantages = group.gpg(*rows, counted=counted, scale=scale, ddof=m.ddof, eps=m.epsilon, singleton="zero")
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)})

  return policy_gradient.method(config, task, signal, papers=("2504.02546",))
