"""VC-PPO's value pretraining: a stage that trains the critic before the policy (arXiv 2503.01491).

Idea: a critic that starts as a copy of the policy knows little about steps. A policy that trusts it from the first
update on, as with windows (tppo.py) or lambda < 1, gets worse. The critic is therefore trained first, on answers of a
frozen policy, with Monte Carlo returns, whose targets have no bias:

  loss = mean over the tokens of answers of (V_t - G_t)^2 / 2,  G_t = sum_{k >= t} gamma^(k - t) r_k

It is a stage of another method's config, which uses the critic through `critic_init_from`, as in "critic#critic".

Metrics: value_error and value_correlation, see ppo.py. Config: the stage `critic` of experiments/common.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import SHARE
from rl_jax.kernels.scans import discounted_sums
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods.method import Loss, Method, ModelRole, Outputs, Signal, Stream, Streams
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Options: no discount, as an answer has one reward; the critic starts as the policy."""
  return {"discount": 1.0, "value_coefficient": 1.0, "critic_learning_rate": None, "critic_init_from": "policy"}


RANGES = {name: ppo.RANGES[name] for name in ("value_coefficient", "critic_learning_rate")} | {"discount": SHARE}


def build(config: ConfigDict, task: Task) -> Method:
  """Frozen policy that answers, and a learning critic."""
  m = config.method
  critic = _critics.critic(m)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    mask = trajectories.trained & trajectories.scored[:, None]
    returns = discounted_sums(ppo.token_rewards(trajectories), mask, discount=m.discount)
    value = Stream(targets=returns, weights=mask.astype(jnp.float32))
    return Signal({"value": value}, _critics.value_metrics(task, trajectories, value))

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    return Loss({"value": _critics.value_term(m, outputs, trajectories, streams["value"], clip=None)}, {})

  return Method(
    curriculum=policy_gradient.CURRICULA["uniform"](config.prompts_per_iteration, config.completions_per_prompt),
    rollout=policy_gradient.independent(config, task),
    signal=signal,
    loss=loss,
    models={"policy": ModelRole(trained=False), **critic["models"]},
    scoring=critic["scoring"],
    requires=critic["requires"],
    papers=("2503.01491",),
  )
