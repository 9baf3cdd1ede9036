"""CM2: rewards from checklists, assigned to trajectories, turns or steps (arXiv 2602.12268).

Idea: a dialogue seldom has an outcome that can be verified. A checklist asks binary questions about it, and a judge
answers these after every step more reliably than it gives a score. The criteria are fine, but the reward may be
assigned coarsely: step advantages learn sooner, while trajectory advantages are steadier, as they average over the
judge's errors. The paper's turn t is a round of the task, and its step s a turn of the task. Item c of a turn depends
on other items of that turn, and Sat_c, whether it is satisfied, latches:

  Sat_c(x_{s+1}) = Sat_c(x_s) or (the judge says so after s and all items that c depends on are in Sat(x_s))
  R_t = sum_c w_c Sat_c(end),  R = mean_t R_t over the turns of the reference, reached or not     (eq. 4, 6)

`level`, where F is 1, or the std in the group + eps (`scale` "group"):
  trajectory: A = (R - mean R) / F on all tokens, the final method                                (eq. 5)
  turn: A_t = (R_t - mean R_t) / F over the rows that reached turn t, on its tokens               (eq. 7)
  step: on the tokens of a step, the mean over the items that are open before it, weighted by w_c, of
    A_c = (Sat_c(end) - b_c) / F_c,  b_c = mean Sat_c(end) over the group                         (eq. 3, 8 to 10)

An item is open while it is not satisfied but all items that it depends on are. The loss is PPO's, mean over tokens,
with a KL term. The authors' code differs: rewards of turns ignore dependencies; turns and items that at most 4 rows
reached have advantage 0 (`min_count` 4); b_c is over the rows in which the item was ever open (`baseline` "attempted");
and A_s is the sum over items without division by the weights (not implemented here).

Inferred: the latch, the advantage 0 of a step without open items, and the rows in the mean of a turn. Rows without a
verdict are left out; the authors' code counts them as 0 at level "trajectory".

Metrics: those of policy_gradient.py, and
  advantage_size: mean |A| over trained tokens.
  zero_advantage: share of trained tokens whose advantage is 0.
  exact_reward: mean reward according to a judge that does not err, if the task has one.
Config: experiments/cm2.py, with experiments/grpo_checklist.py for comparison, on
rl_jax/tasks/environments/checklist.py.
Source: verified in code and paper; latch and empty steps inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, Range
from rl_jax.kernels.reductions import masked_mean
from rl_jax.kernels.segments import on_tokens
from rl_jax.methods import policy_gradient
from rl_jax.methods._checklists import BASELINES, LEVELS, READ, worked_through
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.rollouts.turns import required_turns
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

EXACT = "exact_rewards"
"""Extra of a task whose judge errs on purpose."""


def get_config() -> dict[str, Any]:
  """The paper's final method."""
  return policy_gradient.get_config() | {
    "kl_coefficient": 0.001,
    "level": "trajectory",  # or "turn", "step"
    "scale": "none",  # or "group": over the std in the group
    "epsilon": 1e-6,
    "baseline": "all",  # rows in the baseline of an item; or "attempted": those in which it was ever open
    "min_count": 0,  # turns and items of at most this many rows have advantage 0; not at level "trajectory"
  }


RANGES = {"epsilon": NOT_NEGATIVE, "min_count": Range(0, whole=True)}


def build(config: ConfigDict, task: Task) -> Method:
  """CM2 from its section of a config. Raises ValueError for a task without turns."""
  check_answers(config)
  m, max_turns = config.method, required_turns(task).max_turns
  of_level = LEVELS[one_of(m, "level", LEVELS)]
  one_of(m, "scale", ("none", "group"))
  one_of(m, "baseline", BASELINES)
  requires = READ + ((EXACT,) if EXACT in task.provides else ())

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    advantages = of_level(worked_through(trajectories, max_turns), m)
    on_turns = on_tokens(advantages, trajectories.turn_ids, trajectories.trained)
    stream = policy_gradient.token_stream(trajectories, on_turns)
    values = {"advantage_size": jnp.abs(stream.targets), "zero_advantage": stream.targets == 0}
    metrics = {name: masked_mean(x, stream.weights) for name, x in values.items()}
    if EXACT in requires:
      metrics["exact_reward"] = masked_mean(trajectories.extras[EXACT].sum(axis=1), trajectories.scored)
    return Signal({"policy": stream}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2602.12268",), requires=requires)
