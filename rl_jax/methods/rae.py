"""RAE: role-conditioned advantage estimation (SPIRAL, arXiv 2506.24119).

Idea: in self-play the two sides of a game have different chances, and the mean reward of a group says nothing of
either. Each role has a baseline of its own, the running mean of its rewards; with one role it is REINFORCE with a
moving baseline.

  A_i = r_i - b_k,  b_k <- alpha b_k + (1 - alpha) r_i,  k the role of row i, row after row

The order is that of the authors' code: a row is compared before its own reward enters b_k. Roles are the levels of the
task, as the paper has one for each game and side of it; b starts at 0, which 1 / (1 - alpha) rows of a role forget.
Nothing is compared within a group, so one answer to a prompt is enough.

Metrics: those of policy_gradient.py, and
  baseline: mean of b over scored rows.
Config: experiments/rae.py.
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import DECAY
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Method, Signal
from rl_jax.rollouts.role_baselines import with_role_baselines
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's decay, in the family's loss."""
  return policy_gradient.get_config() | {"decay": 0.95}


RANGES = {"decay": DECAY}


def build(config: ConfigDict, task: Task) -> Method:
  """RAE from its section of a config."""
  rollout = with_role_baselines(policy_gradient.independent(config, task), len(task.levels), decay=config.method.decay)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    advantages = trajectories.extras["role_advantages"]
    baseline = masked_mean(trajectories.rewards - advantages, trajectories.scored)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, {"baseline": baseline})

  requires = ("role_advantages",)
  return policy_gradient.method(config, task, signal, papers=("2506.24119",), requires=requires, rollout=rollout)
