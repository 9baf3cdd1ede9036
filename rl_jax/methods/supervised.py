"""Supervised learning: the warm start, on the task's imperfect demonstrations.

Idea: demonstrations are imperfect at rates set in the task's config (wrong steps, skipped steps, re-checks). The policy
learns the form of an answer and is right some of the time, from where RL can improve it.

  loss = - sum_t log pi(token t) / number of demonstrated tokens

Metrics: nll, the loss; entropy of the policy. Config: the stage `warm_start` of experiments/common.py.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array
from ml_collections import ConfigDict

from rl_jax.curricula.uniform import uniform
from rl_jax.kernels.losses.supervised import negative_log_likelihood
from rl_jax.kernels.reductions import aggregate
from rl_jax.methods.method import Loss, Method, Outputs, Signal, Stream, Streams, Term
from rl_jax.rollouts.demonstrations import demonstrations
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


def get_config() -> dict[str, Any]:
  """Options of the method: none."""
  return {}


def signal(trajectories: Trajectories, iteration: Array) -> Signal:
  """Signal with equal weight on every demonstrated token, whatever its reward."""
  weights = trajectories.trained.astype(jnp.float32)
  return Signal({"demonstrations": Stream(targets=weights, weights=weights)})


def loss(outputs: Outputs, trajectories: Trajectories, streams: Streams) -> Loss:
  """Negative log likelihood, averaged over demonstrated tokens."""
  weights, out = streams["demonstrations"].weights, outputs["policy"]
  mean = aggregate(negative_log_likelihood(out["logprobs"], weights > 0), weights, mode="token_mean")
  entropy = aggregate(out["entropies"], weights, mode="token_mean")
  return Loss({"nll": Term(mean)}, {"entropy": entropy})


def build(config: ConfigDict, task: Task) -> Method:
  """Take `prompts_per_iteration` demonstrations, one per prompt."""
  return Method(uniform(config.prompts_per_iteration, 1), demonstrations(task), signal, loss)
