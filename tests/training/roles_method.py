"""A user's method of six models, named by the path of this file: distillation with baselines, on the policy's samples.

A teacher of another size scores what the policy writes, a critic of three heads and a reward model learn beside it, a
prover writes completions from the midst of responses, and a reference is what the policy was at first.
"""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.kernels.reductions import Mean, aggregate, masked_mean, per_token
from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Loss, Method, ModelRole, Signal, Stream, Term
from rl_jax.rollouts.branches import Boundaries, branches
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.trajectories import Trajectories

HEADS = 3
CUT = 2
"""Tokens of a response before which the prover goes on."""
TEACHER = {"width": 12, "layers": 2, "heads": 3, "key_value_heads": 3, "head_width": 4, "feed_forward": 10}


def get_config() -> dict:
  return policy_gradient.get_config() | {
    "teacher": {"init_from": "", "model": dict(TEACHER)},
    "prover": {"init_from": "policy"},
    "only": "",  # in the paths of the policy's parameters that are trained; "": all
    "critic_learning_rate": 3e-3,
  }


def reward_loss(outputs, trajectories) -> Loss:
  """Squared error of the score of a row against its length, which an untrained policy has too."""
  error = jnp.square(outputs["reward"]["rewards"] - 0.1 * trajectories.response_lengths)
  return Loss({"fit": Term(masked_mean(error, trajectories.row_mask))}, {})


def build(config, task) -> Method:
  m = config.method

  def boundaries(trajectories: Trajectories) -> Boundaries:
    goes_on = trajectories.trained.sum(axis=1) > CUT
    return Boundaries(jnp.full((goes_on.shape[0], 1), CUT), goes_on[:, None])

  def signal(trajectories, iteration) -> Signal:
    extras, mask = trajectories.extras, trajectories.trained
    distilled = extras["teacher_logprobs"] - trajectories.old_logprobs
    baseline = extras["values"].mean(axis=-1) + per_token(extras["scores"] + extras["cut_values"][:, 0], mask)
    returns = jnp.where(mask, distilled, 0.0)[:, ::-1].cumsum(axis=1)[:, ::-1]
    streams = {
      "policy": policy_gradient.token_stream(trajectories, jnp.where(mask, distilled - 0.1 * baseline, 0.0)),
      "value": Stream(targets=returns, weights=mask.astype(jnp.float32)),
    }
    away = aggregate(trajectories.old_logprobs - trajectories.ref_logprobs, mask, mode="token_mean")
    return Signal(streams, {"distilled": aggregate(distilled, mask, mode="token_mean"), "away": away})

  policy_loss = policy_gradient.loss_function(config, task)

  def loss(outputs, trajectories, streams) -> Loss:
    terms, metrics = policy_loss(outputs, trajectories, streams)
    stream, values = streams["value"], outputs["critic"]["values"]
    assert values.shape == (*stream.targets.shape, HEADS)
    shares = jnp.asarray([0.5, 1.0, 2.0])  # each head has a target of its own
    error = jnp.square(values - stream.targets[..., None] * shares).mean(axis=-1)
    value: Mean = aggregate(error, stream.weights, mode="token_mean")
    return Loss(terms | {"value": Term(value)}, metrics)

  models = {
    "policy": ModelRole(trained=(lambda path: m.only in path) if m.only else True),
    "teacher": ModelRole(config=m.teacher.model, init_from=m.teacher.init_from, outputs=("logprobs",), trained=False),
    "critic": ModelRole(outputs=("values",), heads=HEADS, init_from="policy", learning_rate=m.critic_learning_rate),
    "reward": ModelRole(outputs=("rewards",), init_from="policy", loss=reward_loss),
    "prover": ModelRole(init_from=m.prover.init_from, trained=False),
    "reference": ModelRole(init_from="policy", outputs=("logprobs",), trained=False),
  }
  scoring = {
    "teacher_logprobs": ("teacher", "logprobs"),
    "ref_logprobs": ("reference", "logprobs"),
    "values": ("critic", "values"),
    "scores": ("reward", "rewards"),
  }
  respond = policy_gradient.independent(config, task)
  return policy_gradient.method(
    config,
    task,
    signal,
    papers=(),
    requires=("cut_values",),
    rollout=branches(task, respond, boundaries, 2, sampling_from(config), by="prover"),
    loss=loss,
    models=models,
    scoring=scoring,
  )
