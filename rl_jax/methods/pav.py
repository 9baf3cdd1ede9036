"""PAV: progress of steps under a frozen prover (arXiv 2410.08146).

Idea: the worth of a step is its change in the probability of success under a prover mu, a policy other than the
learning one. Values under the policy itself add nothing to the outcome: Q^pi + alpha A^pi is (1 + alpha) Q^pi minus a
baseline. To a prover that always or never succeeds no step matters. One of medium strength distinguishes steps, and
rewards a good beginning long before any response is right. With q_h the probability of success of a completion by mu
from the end of step h, and q_0 that from the prompt,

  A_h = q_h - q_{h-1}                                                                               (eq. 2)
  w_t = R + alpha A_{step of t} - b_t,   R the outcome, the estimate of Q^pi from one sample        (eq. 5)
  loss = - mean over tokens of w_t log pi(token t)  +  beta k3_t
  value loss: 1/2 (V_t - R - alpha A_{step of t})^2,   b_t = V_t before the update

The prover is frozen. With best_of K its values are 1 - (1 - q)^K, those of the best of K completions (remark 3.1),
before differences are taken. `prover`:
  truth: the task's own prover of strength `prover_gamma`, with exact values, if the task has one.
  samples: q_h is the mean outcome of completions by a model; "policy": the one that training starts from.
  verifier: a model trained to predict q_h in a stage (verifier_training.py).
`form` "to_go" gives a token the progress of its step and of all later ones, which telescopes to the outcome minus a
baseline: the trap that the paper warns of. The objective takes its states from the old policy, so A_h belongs to step h
alone.

Inferred: the mean over tokens; q after the last step is the outcome (the paper: the verifier's prediction); the loss is
that of the family, whose ratio is 1 in the first of several minibatches.

Metrics: those of policy_gradient.py, and
  progress: A, mean over trained tokens; below 0 where the policy is worse than the prover.
  progress_size: |A|; near 0 where the prover is too weak or too strong to tell steps apart.
  value_error: mean square of V - R - alpha A over trained tokens.
Config: experiments/pav.py, on rl_jax/tasks/planted.py.
Source: paper; mean over tokens and soft labels inferred.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import COUNT, NOT_NEGATIVE, Range
from rl_jax.kernels.reductions import masked_mean, per_token
from rl_jax.kernels.rewards.process import best_of_k_values, effective_rewards
from rl_jax.kernels.scans import discounted_sums
from rl_jax.kernels.segments import segment_ends
from rl_jax.methods import _critics, policy_gradient, ppo
from rl_jax.methods._provers import PROVERS
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Stream, Streams, one_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """The paper's options for its 2B model, with samples of the initial policy as prover."""
  return policy_gradient.get_config() | {
    "clip": "none",
    "kl_coefficient": 0.001,
    "alpha": 5.0,  # 3 for 9B, 1 in the didactic task
    "form": "step",  # or "to_go"
    "prover": "samples",  # or "truth", "verifier"
    "prover_gamma": 10.0,  # strength, for "truth"
    "prover_init_from": "policy",  # or a stage or run and its model: "prover#policy", "verifier#verifier"
    "completions": 20,  # number from the start of each step, for "samples"
    "max_steps": 16,  # steps with their own value by a model; later ones join the last
    "best_of": 1,  # K
    "value_coefficient": 1.0,
    "critic_learning_rate": None,  # None: the policy's
    "critic_init_from": "policy",
  }


RANGES = {name: ppo.RANGES[name] for name in ("value_coefficient", "critic_learning_rate")} | {
  "alpha": NOT_NEGATIVE, "prover_gamma": Range(1, 1e6), "completions": COUNT, "max_steps": COUNT, "best_of": COUNT
}  # fmt: skip


def to_go(progress: Float[Array, "B T"], step_ids: Int[Array, "B T"], mask: Bool[Array, "B T"]) -> Float[Array, "B T"]:
  """Progress of a token's step and of all later steps."""
  return discounted_sums(jnp.where(segment_ends(step_ids, mask), progress, 0.0), mask)


FORMS = {"step": lambda progress, step_ids, mask: progress, "to_go": to_go}


def build(config: ConfigDict, task: Task) -> Method:
  """PAV from its section of a config. Raises ValueError for an unknown prover."""
  m, policy_loss = config.method, policy_gradient.loss_function(config, task)
  prover = PROVERS[one_of(m, "prover", PROVERS)](config, task)
  credited, critic = FORMS[one_of(m, "form", FORMS)], _critics.critic(m)

  def signal(trajectories: Trajectories, iteration: Array) -> Signal:
    mask = trajectories.trained & trajectories.scored[:, None]
    before, after = (best_of_k_values(values, mask, k=m.best_of) for values in prover.values(trajectories))
    progress, rewards = after - before, per_token(trajectories.rewards, mask)
    returns = effective_rewards(rewards, credited(progress, trajectories.step_ids, mask), mask, alpha=m.alpha)
    value = Stream(targets=returns, weights=mask.astype(jnp.float32))
    policy = policy_gradient.token_stream(trajectories, returns - trajectories.extras["values"])
    metrics = {"progress": masked_mean(progress, mask), "progress_size": masked_mean(jnp.abs(progress), mask)}
    metrics["value_error"] = _critics.value_error(trajectories, value)
    return Signal({"policy": policy, "value": value}, metrics)

  def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    value = _critics.value_term(m, outputs, trajectories, streams["value"], clip=None)
    return Loss(terms | {"value": value}, metrics)

  return policy_gradient.method(
    config, task, signal, papers=("2410.08146",), rollout=prover.rollout, loss=loss,
    models={**prover.models, **critic["models"]}, scoring={**prover.scoring, **critic["scoring"]},
    requires=(*prover.requires, *critic["requires"]),
  )  # fmt: skip
