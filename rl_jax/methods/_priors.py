"""Priors: mean rewards expected of prompts before any response, and the models that learn them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from rl_jax.kernels.losses.reward_model import binary_cross_entropy
from rl_jax.kernels.reductions import masked_mean
from rl_jax.methods.method import Loss, ModelRole, Outputs, Term
from rl_jax.models.outputs import Sequences
from rl_jax.rollouts.estimators import Estimator, ridge_regression, running_means, stateless
from rl_jax.rollouts.sampler import positions_of
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories


class Prior(NamedTuple):
  """An estimator, and the models that it reads."""

  estimator: Estimator
  models: Mapping[str, ModelRole] = {}  # noqa: RUF012


def constant(config: ConfigDict, task: Task) -> Prior:
  """`prior_start` for every prompt."""
  return Prior(stateless(lambda models, state, prompts: jnp.full(prompts.ids.shape, config.method.prior_start)))


def running(config: ConfigDict, task: Task) -> Prior:
  """The decayed mean of the level's earlier prompts."""
  m = config.method
  return Prior(running_means(len(task.levels), start=m.prior_start, strength=m.prior_strength, decay=m.prior_decay))


def regression(config: ConfigDict, task: Task) -> Prior:
  """A ridge regression on the tokens of the prompt, at most `prior_features` kinds."""
  m = config.method
  estimator = ridge_regression(
    min(len(task.vocabulary), m.prior_features),
    start=m.prior_start,
    strength=m.prior_strength,
    decay=m.prior_decay,
    lowest=m.lowest_reward,
    highest=m.highest_reward,
  )
  return Prior(estimator)


def model(config: ConfigDict, task: Task) -> Prior:
  """A model with a head z at the last token of the prompt: V is sigmoid(z), stretched to the rewards' range.

  It learns before the policy does, by the cross-entropy of sigmoid(z) with the rewards, with equal weight per prompt.
  """
  m = config.method
  low, width = m.lowest_reward, m.highest_reward - m.lowest_reward

  def values(models, state, prompts):
    bound, texts = models["prior"], Sequences(prompts.tokens, positions_of(prompts.mask), prompts.mask)
    return low + width * jax.nn.sigmoid(bound.model.outputs(bound.params, texts)["rewards"])

  def loss(outputs: Outputs, trajectories: Trajectories) -> Loss:
    logits, weights = outputs["prior"]["values"][:, trajectories.prompt_width], trajectories.extras["prompt_weights"]
    labels = jnp.clip((trajectories.rewards - low) / width, 0.0, 1.0)
    losses = binary_cross_entropy(logits, labels, weights)
    return Loss({"prior": Term(masked_mean(losses, weights), trains="prior")}, {})

  role = ModelRole(
    outputs=("values", "rewards"), init_from=m.prior_init_from, learning_rate=m.prior_learning_rate, loss=loss
  )
  return Prior(stateless(values), {"prior": role})


PRIORS = {"constant": constant, "running": running, "regression": regression, "model": model}
