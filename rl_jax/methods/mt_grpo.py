"""MT-GRPO: multi-turn GRPO, credit of turns from the rewards of turns (arXiv 2505.11821).

Idea: an environment that rewards turns, such as successful tool calls, says more than the outcome of an episode. Turn
rewards and outcomes are normalised separately in the group; a turn's advantage is the outcome's plus the discounted
ones of its own and all later turn rewards:

  A_k = A^O + lambda sum_{l >= k} gamma^(l-k) A^I_l,   on all tokens of turn k
  A^O, A^I_l: (r - mean_group) / std of the outcomes, and of the rewards of turn l

The outcome is the reward of the last turn. The authors' second form, estimate "cumulative", normalises the sum of the
future rewards, outcome included, as one number.

The paper's episodes have two turns. With `absent` "skip", a row that has ended is left out of the means of later turns,
as in the equations. If the policy decides when to end, its gradient is then biased against every further turn by the
mean of that turn's rewards (reported for such a port as issue 7244 of verl). With "zero", the row counts as a reward of
0, and if `scale` is False too, the gradient is unbiased up to a factor. docs/turn_credit.md plots both.

Metrics: those of policy_gradient.py, and
  turn_reward: sum of the rewards of all turns but the last, mean over scored rows.
Config: experiments/mt_grpo.py.
Source: official code; more than two turns inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, SHARE, Range
from rl_jax.kernels.advantages import turn
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.segments import last_token, on_tokens
from rl_jax.methods import policy_gradient
from rl_jax.methods._turns import scored_turns, turn_rewards
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The authors' options, except that `absent` "zero" avoids the bias."""
  return policy_gradient.get_config() | {
    "turn_weight": 1.0,  # lambda
    "discount": 1.0,  # per turn
    "estimate": "additive",  # or "cumulative"
    "absent": "zero",  # turns that a row lacks count as a reward of 0; "skip": they are left out
    "scale": True,  # False: no division by the std
    "ddof": 1,
    "epsilon": 1e-4,
  }


RANGES = {"turn_weight": NOT_NEGATIVE, "discount": SHARE, "ddof": Range(0, 1, whole=True), "epsilon": NOT_NEGATIVE}


def build(config: ConfigDict, task: Task) -> Method:
  """MT-GRPO from its section of a config."""
  m = config.method
  check_answers(config)
  one_of(m, "estimate", turn.ESTIMATES)
  one_of(m, "absent", turn.ABSENT)
  required_turns(task)
  options = {name: m[name] for name in ("turn_weight", "discount", "estimate", "absent", "scale", "ddof")}

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    exists, rewards = scored_turns(task, trajectories), turn_rewards(task, trajectories)
    estimate = turn.mt_grpo(rewards, trajectories.group_ids, exists, eps=m.epsilon, **options)
    advantages = on_tokens(estimate, trajectories.turn_ids, trajectories.trained)
    earned = jnp.where(exists & ~last_token(exists), rewards, 0.0).sum(axis=1)
    metrics = {"turn_reward": masked_mean(earned, trajectories.scored)}
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2505.11821",))
