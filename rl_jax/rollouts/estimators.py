"""Estimators of a prompt's mean reward before any response to it, from the rewards of earlier iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from rl_jax.rollouts.rollout import Models
from rl_jax.tasks.task import Prompts

Values = Callable[[Models, Any, Prompts], Float[Array, " N"]]
"""(models, state, prompts) -> an estimate for each"""


class Estimator(NamedTuple):
  """Pure functions over a state that the rollout keeps."""

  init: Callable[[PRNGKeyArray], Any]
  """key -> state"""
  values: Values
  update: Callable[[Any, Prompts, Float[Array, " N"], Bool[Array, " N"]], Any]
  """(state, prompts, mean reward of each, False for a prompt without a scored response) -> state"""


def stateless(values: Values) -> Estimator:
  """An estimator that learns nothing here: a constant, or a model that a loss trains."""
  return Estimator(lambda key: (), values, lambda state, prompts, means, known: state)


class LevelSums(NamedTuple):
  """Decayed sums over the prompts of each of L levels."""

  rewards: Float[Array, " L"]
  prompts: Float[Array, " L"]


def running_means(levels: int, *, start: float, strength: float, decay: float) -> Estimator:
  """V = (c s + sum_j r_j) / (c + n): the mean of the level's n earlier prompts and of c prompts of the value s.

  r_j is the mean reward of a prompt's responses.

  Args:
    levels: L, of the task.
    start, strength: s and c > 0.
    decay: of both sums, at each update.
  """

  def values(models, state, prompts):
    means = (strength * start + state.rewards) / (strength + state.prompts)
    return means[prompts.levels]

  def update(state, prompts, means, known):
    added = LevelSums(jnp.where(known, means, 0.0), known.astype(jnp.float32))
    of_levels = lambda old, new: decay * old + jax.ops.segment_sum(new, prompts.levels, num_segments=levels)
    return jax.tree.map(of_levels, state, added)

  return Estimator(lambda key: LevelSums(jnp.zeros(levels), jnp.zeros(levels)), values, update)


class RidgeSums(NamedTuple):
  """Decayed sums over prompts, all that a ridge regression on D features has to know of them."""

  products: Float[Array, "D D"]
  """sum_j x_j x_j^T"""
  targets: Float[Array, " D"]
  """sum_j x_j (r_j - s)"""


def token_features(prompts: Prompts, size: int) -> Float[Array, "N D"]:
  """1, and how often the prompt holds each token, over the square root of its slots; D = 1 + size.

  Ids count modulo `size`: large vocabularies share features.
  """
  rows, slots = prompts.tokens.shape
  places = jnp.arange(rows)[:, None], prompts.tokens % size
  counts = jnp.zeros((rows, size)).at[places].add(prompts.mask.astype(jnp.float32))
  return jnp.concatenate([jnp.ones((rows, 1)), counts / slots**0.5], axis=1)


def ridge_regression(
  features: int, *, start: float, strength: float, decay: float, lowest: float, highest: float
) -> Estimator:
  """V = s + x^T (sum_j x_j x_j^T + c I)^-1 sum_j x_j (r_j - s), within the rewards' range; x are `token_features`.

  Arguments as in `running_means`, with c as the penalty, and in float32: keep D in the hundreds.
  """
  product = lambda a, b: jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)

  def values(models, state, prompts):
    penalised = state.products + strength * jnp.eye(1 + features)
    weights = jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(penalised), state.targets)
    return jnp.clip(start + product(token_features(prompts, features), weights), lowest, highest)

  def update(state, prompts, means, known):
    x = jnp.where(known[:, None], token_features(prompts, features), 0.0)
    added = RidgeSums(product(x.T, x), product(x.T, jnp.where(known, means - start, 0.0)))
    return jax.tree.map(lambda old, new: decay * old + new, state, added)

  empty = lambda key: RidgeSums(jnp.zeros((1 + features, 1 + features)), jnp.zeros(1 + features))
  return Estimator(empty, values, update)
