"""GiGPO: group-in-group policy optimisation (arXiv 2505.10978).

Idea: rollouts of one prompt pass through the same states. Turns that begin in the same state, an anchor, form a group
of their own: comparing their later rewards shows which action was better, without a critic or more samples.

  A^E_i = (R_i - mean_group R) / F                             R_i: reward of the episode                      (eq. 3)
  G_t = r_t + gamma G_{t+1},  A^S_t = (G_t - mean_anchor G) / F, 0 in an anchor of one turn               (eq. 5 to 7)
  A_t = A^E + omega A^S_t, on all tokens of turn t                                                             (eq. 8)

F is 1 or the std. The loss is the clipped one, over sampled tokens. Anchors are the environment's `state_ids` (for an
environment in Python, equal observations); turns in states without an id have A^S = 0. With normalization
"leave_one_out" the means are over the other rows; with discount 1 as well, the gradient is unbiased up to a factor
(kernels/advantages/anchor.py).

Metrics: those of policy_gradient.py, and
  anchored: share of turns that begin in the same state as another turn of the group.
  step_advantage: mean of |A^S| over turns.
Config: experiments/gigpo.py, with experiments/grpo_rooms.py for comparison.
Source: official code.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages import anchor
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.segments import on_tokens
from rl_jax.methods import policy_gradient
from rl_jax.methods._turns import scored_turns, turn_rewards
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options: omega 1, gamma 0.95, KL 0.01."""
  return policy_gradient.get_config() | {
    "kl_coefficient": 0.01,
    "step_weight": 1.0,  # omega
    "discount": 0.95,  # per turn, of the returns that anchors compare
    "normalization": "none",  # F: 1, or "std"; "leave_one_out": 1, and means over other rows
  }


RANGES = {"step_weight": NOT_NEGATIVE, "discount": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """GiGPO from its section of a config."""
  m = config.method
  check_answers(config)
  one_of(m, "normalization", anchor.NORMALIZATIONS)
  required_turns(task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    exists, states = scored_turns(task, trajectories), trajectories.extras["state_ids"][:, :-1]
    options = {name: m[name] for name in ("step_weight", "discount", "normalization")}
    rows = turn_rewards(task, trajectories), states, trajectories.group_ids, exists
    estimate = anchor.gigpo(*rows, **options, singleton="zero")
    advantages = on_tokens(estimate.advantages, trajectories.turn_ids, trajectories.trained)
    metrics = {
      "anchored": masked_mean(estimate.counts > 1, exists),
      "step_advantage": masked_mean(jnp.abs(estimate.step), exists),
    }
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2505.10978",), requires=("state_ids",))
