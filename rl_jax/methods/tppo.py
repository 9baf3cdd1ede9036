"""T-PPO: PPO on windows of generation, with a critic of finished responses (arXiv 2506.15050).

Idea: an iteration of PPO waits for its longest answer. In T-PPO every slot samples a window of l tokens per iteration.
Unfinished answers continue in the next one, and the policy is updated on the tokens so far, with GAE that bootstraps
from the value at the cut. The critic learns only from finished answers, with Monte Carlo returns, so its targets have
no bias.

  delta_t = r_t + gamma V_{t+1} - V_t,  A_t = sum_k (gamma lambda)^k delta_{t+k}
  V after the last token: 0 if the answer is finished, else V before that token                    (eq. 6)
  policy loss: mean over the tokens of this window of -min(rho_t A_t, clip(rho_t, 1 - 0.2, 1 + 0.28) A_t)
  value loss: mean over all tokens of finished answers of (V_t - G_t)^2 / 2,  G_t = sum_k gamma^k r_{t+k}

The ratio of a token is to the policy that sampled it. The paper's full text was not at hand: which tokens train the
policy, clip, lambda, gamma and aggregation are inferred from its abstract, reviews and the same group's papers. In a
step without a finished answer the critic has no gradient. With an untrained critic, unfinished answers teach nothing
useful. Not in the paper: a critic pretrained in a stage (`critic_init_from`, see value_pretraining.py), or
`critic_warmup_iterations` without updates of the policy; windows that begin `staggered`; `at_cut` "next", the critic's
value of the state at the cut in place of eq. 6.

Metrics: those of policy_gradient.py and of rollouts/partial.py, where `reward` is that of finished answers, and
  value_error: mean square of V - G over the tokens of finished answers.
  value_correlation: see ppo.py.
Config: experiments/tppo.py. Result: experiments/results/credit.md.
Source: second hand; clipping, masks and lambda inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, WHOLE
from rl_jax.kernels.advantages.truncated import tppo
from rl_jax.kernels.reductions import whiten
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Stream, Streams, one_of
from rl_jax.rollouts.partial import partial_rollouts
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Options: a window of a third of the response, as 8k of 24k; no KL, no value clip."""
  return policy_gradient.get_config() | {
    "clip_low": 0.2,
    "clip_high": 0.28,
    "window_tokens": None,  # None: a third of the task's response tokens
    "staggered": False,  # the first windows, so that answers do not all end together
    "at_cut": "last",  # the value there is that before the last token, eq. 6; or "next": that after it
    "trained_tokens": "window",  # or "response": also those of earlier windows, again
    "discount": 1.0,
    "lam": 0.95,  # of the policy's advantages
    "whiten": False,
    "value_coefficient": 1.0,
    "critic_learning_rate": None,  # None: the policy's
    "critic_init_from": "policy",  # or a stage or run, as in "critic#critic"
    "critic_warmup_iterations": 0,  # in which the policy stays
  }


RANGES = ppo.RANGES | {"window_tokens": COUNT.optional(), "critic_warmup_iterations": WHOLE}


def build(config: ConfigDict, task: Task) -> Method:
  """T-PPO from its section of a config."""
  m = config.method
  one_of(m, "trained_tokens", ("window", "response"))
  if one_of(m, "at_cut", ("last", "next")) == "next" and config.length_buckets > 1:
    raise ValueError("method.at_cut='next' reads values after the end of a window: leave length_buckets=1")
  window = -(-task.response_tokens // 3) if m.window_tokens is None else m.window_tokens

  policy_loss = policy_gradient.loss_function(config, task)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    usable = trajectories.scored | (trajectories.unfinished & trajectories.row_mask)
    mask = trajectories.extras["response_mask"] & usable[:, None]
    estimate = tppo(
      ppo.token_rewards(trajectories.replace(loss_mask=mask)),
      trajectories.extras["values"],
      mask,
      (mask & ~trajectories.loss_mask).sum(axis=1),
      ~trajectories.unfinished,
      discount=m.discount,
      lam=m.lam,
      tokens=m.trained_tokens,
      at_cut=m.at_cut,
    )
    advantages = whiten(estimate.advantages, estimate.policy_mask) if m.whiten else estimate.advantages
    advantages = jnp.where(iteration >= m.critic_warmup_iterations, advantages, 0.0)
    weights = lambda mask: mask.astype(jnp.float32)
    value = Stream(targets=estimate.returns, weights=weights(estimate.value_mask))
    streams = {"policy": Stream(targets=advantages, weights=weights(estimate.policy_mask)), "value": value}
    return Signal(streams, _critics.value_metrics(task, trajectories, value))

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    value = _critics.value_term(m, outputs, trajectories, streams["value"], clip=None)
    return Loss(terms | {"value": value}, metrics)

  slots = config.prompts_per_iteration * config.completions_per_prompt
  rollout = partial_rollouts(slots, window, task, sampling_from(config), staggered=m.staggered)
  critic = _critics.critic(m)
  requires = (*critic.pop("requires"), "response_mask")
  return policy_gradient.method(
    config, task, signal, papers=("2506.15050",), requires=requires, rollout=rollout, loss=loss, **critic
  )
