"""PPO: proximal policy optimisation with a critic (Schulman et al. 2017, arXiv 1707.06347) and GAE (arXiv 1506.02438).

Idea: a second transformer learns V(state before token t). The advantage is the discounted sum of its errors:

  delta_t = r_t + gamma V_{t+1} - V_t,   A_t = delta_t + gamma lambda A_{t+1}      (GAE, eq. 11 and 16)
  policy loss: mean over tokens of -min(rho_t A_t, clip(rho_t, 1-e, 1+e) A_t)      (PPO, eq. 7)
  value loss: 1/2 max((V - R)^2, (clip(V, V_old - c, V_old + c) - R)^2),  R = A + V_old

The reward of an answer falls on its last token, in an environment that of a turn on the turn's last token. The value
after an answer is 0, also after a truncated one: the limit is a rule of the task, known to the policy, not an
interruption. Advantages are whitened over all tokens of the batch.

Metrics: those of policy_gradient.py, and
  value_error: mean square of V_old - R over trained tokens.
  value_correlation: correlation of V_old with true values of steps over trained tokens, if the task has them.
Config: experiments/ppo.py.
Source: verified in code.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import NOT_NEGATIVE, SHARE
from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.reductions import whiten
from rl_jax.methods import _critics, policy_gradient
from rl_jax.methods._token_rewards import token_rewards as token_rewards
from rl_jax.methods.method import Loss, LossFunction, Method, Outputs, Signal, Stream, Streams
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The common defaults for language models: no discount, lambda 1, value clip 0.5."""
  return policy_gradient.get_config() | {
    "discount": 1.0,
    "lam": 1.0,  # GAE's lambda; 1 is Monte Carlo
    "whiten": True,
    "value_coefficient": 1.0,
    "value_clip": 0.5,  # 0: none
    "critic_learning_rate": None,  # None: the policy's
    "critic_init_from": "policy",  # or a stage or run, as in "critic#critic"
  }


RANGES = {
  "discount": SHARE,
  "lam": SHARE,
  "value_coefficient": NOT_NEGATIVE,
  "value_clip": NOT_NEGATIVE,
  "critic_learning_rate": NOT_NEGATIVE.optional(),
}


def streams(m: ConfigDict, trajectories: Trajectories, rewards: Float[Array, "B T"]) -> dict[str, Stream]:
  """Advantages of trained tokens by GAE of their rewards, and the critic's targets."""
  mask = trajectories.trained & trajectories.scored[:, None]
  estimate = gae(rewards, trajectories.extras["values"], mask, discount=m.discount, lam=m.lam)
  advantages = whiten(estimate.advantages, mask) if m.whiten else estimate.advantages
  value = Stream(targets=estimate.returns, weights=mask.astype(jnp.float32))
  return {"policy": policy_gradient.token_stream(trajectories, advantages), "value": value}


def loss_function(config: ConfigDict, task: Task) -> LossFunction:
  """The clipped loss of the policy, and the critic's."""
  m, policy_loss = config.method, policy_gradient.loss_function(config, task)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    value = _critics.value_term(m, outputs, trajectories, streams["value"], clip=m.value_clip or None)
    return Loss(terms | {"value": value}, metrics)

  return loss


def build(config: ConfigDict, task: Task) -> Method:
  """PPO from its section of a config."""
  m = config.method

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    estimated = streams(m, trajectories, token_rewards(trajectories))
    return Signal(estimated, _critics.value_metrics(task, trajectories, estimated["value"]))

  return policy_gradient.method(
    config, task, signal, papers=("1707.06347", "1506.02438"), loss=loss_function(config, task), **_critics.critic(m)
  )
