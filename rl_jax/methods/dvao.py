"""DVAO: several rewards, weighted by their spread (arXiv 2605.25604).

Idea: a response has K rewards. If each is normalised and then added with a fixed weight, an objective without spread in
the group keeps its weight and carries no signal. If they are added and then normalised, advantages are large however
the rewards correlate. DVAO weights each normalised reward by its spread in the group. With mean mu_k and std sigma_k of
reward k over the G responses to a prompt

  A_ik = (r_ik - mu_k) / (sigma_k + eps)
  v_k = w_k sigma_k / (sum_l w_l sigma_l + eps),  A_i = sum_k v_k A_ik
  loss: GRPO's, mean over all tokens

so that |A_i| is at most that of "rewards" below (proposition 2), and an objective without spread passes its weight to
the others. Rewards are the task's objectives (`Task.objectives`) and must share a scale, since c r_k has c times the
weight. `combination`, of which all but "dvao" are the paper's baselines:
  dvao: as above.
  rewards: RC, GRPO of sum_k w_k r_ik.
  advantages: AC, sum_k w_k A_ik.
  gdpo: AC normalised over the batch (arXiv 2601.05242).

The formulas are known at second hand, without equation numbers. That weights are proportional to the std, not to the
variance, follows from the propositions. Inferred: ddof 1, eps 1e-6 and its place, advantage 0 without any spread, no
KL.

Metrics: those of policy_gradient.py, part/<objective> (rl_jax/training/describing.py), and
  weight/<objective>: v_k over scored rows; for "dvao" alone.
  squared_advantage: mean A_i^2 over scored rows; near 1 for "rewards" where all groups have spread (proposition 1).
Config: experiments/dvao.py.
Source: second hand; ddof and eps inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE
from rl_jax.kernels.advantages.group import gdpo
from rl_jax.kernels.advantages.multi_reward import advantage_combination, dvao, reward_combination
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods import grpo, policy_gradient
from rl_jax.methods.method import Method, Signal, check_answers, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

BASELINES = {"rewards": reward_combination, "advantages": advantage_combination, "gdpo": gdpo}


def get_config() -> dict[str, Any]:
  """The paper's options: equal weights, no KL."""
  return policy_gradient.get_config() | {
    "combination": "dvao",
    "weights": (),  # one per objective, in the task's order, scaled to sum 1; (): equal
    "ddof": 1,
    "epsilon": None,  # None: 1e-4 for "gdpo", as in its paper, else 1e-6
  }


RANGES = grpo.RANGES | {"weights": NOT_NEGATIVE, "epsilon": NOT_NEGATIVE.optional()}


def weights_of(m: ConfigDict, names: tuple[str, ...]) -> Float[Array, " K"]:
  """The weights of a task's objectives, which add up to 1; ValueError for another number of them, or none above 0."""
  if not names:
    raise ValueError("this task has no objectives: use one that has, such as rl_jax.tasks.chain with length_objective")
  weights = tuple(m.weights) or (1.0,) * len(names)
  if len(weights) != len(names) or not sum(weights) > 0:
    raise ValueError(f"method.weights={weights}: give one for each of {', '.join(names)}, one of them above 0")
  return jnp.array(weights, jnp.float32) / sum(weights)


def build(config: ConfigDict, task: Task) -> Method:
  """DVAO from its section of a config."""
  check_answers(config)
  m, names = config.method, task.objectives
  weights = weights_of(m, names)
  baseline = BASELINES.get(one_of(m, "combination", ("dvao", *BASELINES)))
  default = 1e-4 if m.combination == "gdpo" else 1e-6
  options = {"weights": weights, "ddof": m.ddof, "eps": default if m.epsilon is None else m.epsilon}

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    scored, metrics = trajectories.scored, dict[str, Mean]()
    args = trajectories.objectives, trajectories.group_ids, scored
    if baseline is None:
      advantages, adapted, _ = dvao(*args, **options)
      metrics |= {f"weight/{name}": masked_mean(adapted[:, k], scored) for k, name in enumerate(names)}
    else:
      advantages = baseline(*args, **options)
    metrics["squared_advantage"] = masked_mean(jnp.square(advantages), scored)
    return Signal({"policy": policy_gradient.token_stream(trajectories, advantages)}, metrics)

  return policy_gradient.method(config, task, signal, papers=("2605.25604",))
