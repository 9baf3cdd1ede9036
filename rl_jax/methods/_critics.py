"""The critic of PPO and of methods that build on it: its model, its loss, and its error against its targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float
from ml_collections import ConfigDict

from rl_jax.kernels.analysis.agreement import correlation
from rl_jax.kernels.losses.value import value_loss
from rl_jax.kernels.reductions import Mean, aggregate
from rl_jax.methods.method import ModelRole, Outputs, Stream, Streams, Term
from rl_jax.rollouts import step_values
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def critic(m: ConfigDict, heads: int = 1, extras: tuple[str, ...] = ()) -> dict[str, Any]:
  """Models, scoring and required extras of a method with a critic, as arguments of `policy_gradient.method`."""
  role = ModelRole(outputs=("values",), heads=heads, init_from=m.critic_init_from, learning_rate=m.critic_learning_rate)
  return {"models": {"critic": role}, "scoring": {"values": ("critic", "values")}, "requires": ("values", *extras)}


def value_term(
  m: ConfigDict,
  outputs: Outputs,
  trajectories: Trajectories,
  stream: Stream,
  *,
  clip: float | None,
  head: int | None = None,
) -> Term:
  """Loss of the critic, or of one of its heads, averaged over the tokens of its stream."""
  values, old_values = (_of_head(x["values"], head) for x in (outputs["critic"], trajectories.extras))
  losses = value_loss(values, old_values, stream.targets, stream.weights > 0, clip=clip)
  return Term(aggregate(losses, stream.weights, mode="token_mean"), m.value_coefficient, "critic")


def value_terms(
  m: ConfigDict,
  outputs: Outputs,
  trajectories: Trajectories,
  streams: Streams,
  heads: Sequence[str],
  *,
  clip: float | None,
) -> dict[str, Term]:
  """Loss of each head, each with the stream of its name."""
  of_head = lambda i: value_term(m, outputs, trajectories, streams[heads[i]], clip=clip, head=i)
  return {f"{name}_value": of_head(i) for i, name in enumerate(heads)}


def _of_head(values: Float[Array, "B T *H"], head: int | None) -> Float[Array, "B T"]:
  return values if head is None else values[..., head]


def value_error(trajectories: Trajectories, stream: Stream, head: int | None = None) -> Mean:
  """Mean square of V_old - R over the tokens of the critic's stream."""
  old_values = _of_head(trajectories.extras["values"], head)
  difference = jnp.where(stream.weights > 0, old_values - stream.targets, 0.0)
  return aggregate(jnp.square(difference), stream.weights, mode="token_mean")


def value_errors(trajectories: Trajectories, streams: Streams, heads: Sequence[str]) -> dict[str, Mean]:
  """Error of each head, each with the stream of its name."""
  return {f"{name}_value_error": value_error(trajectories, streams[name], i) for i, name in enumerate(heads)}


def value_metrics(task: Task, trajectories: Trajectories, stream: Stream) -> dict[str, Mean]:
  """Error of V_old against the critic's targets, and its correlation with the task's true values of steps."""
  metrics = {"value_error": value_error(trajectories, stream)}
  if task.step_values is not None:
    true = step_values.exact(task, trajectories).before
    agreement = correlation(trajectories.extras["values"], true, trajectories.trained)
    metrics["value_correlation"] = Mean(agreement, jnp.float32(1.0))
  return metrics
