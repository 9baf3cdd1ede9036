"""Splitting a public belief: an informed player mixes a few prototype actions, and each one changes the belief.

CAMS, arXiv 2502.00560. There are I types, known to player 1, who minimises, and J prototypes, the same for all types:
only the signals A_ij = P(prototype j | type i) distinguish types. As the value is convex in the belief, I prototypes
are enough, however many actions there are, and I + 1 for player 2 in the dual game.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked


class Split(NamedTuple):
  """Probability of each prototype, and the belief after it."""

  weights: Float[Array, "*N J"]
  posteriors: Float[Array, "*N J I"]


def split_belief(prior: Float[Array, "*N I"], signals: Float[Array, "*N I J"]) -> Split:
  """lambda_j = sum_i p_i A_ij and p_j(i) = p_i A_ij / lambda_j.

  CAMS, arXiv 2502.00560. Rows of A sum to 1, as from a softmax; with two types the authors' code keeps A_11 and A_21 at
  least 1e-6 away from 0 and 1. A prototype of probability 0 gives zeros, which are not a belief: mask them.

  >>> split = split_belief(jnp.array([0.5, 0.5]), jnp.array([[1.0, 0.0], [0.5, 0.5]]))
  >>> print(split.weights, split.posteriors[1])
  [0.75 0.25] [0. 1.]
  """
  if prior.ndim < 1 or signals.shape[:-1] != prior.shape:
    raise ValueError(f"split_belief: expected prior [... I] and signals [... I J], got {prior.shape}, {signals.shape}")
  joint = widen(prior)[..., None] * widen(signals)
  weights = joint.sum(axis=-2)
  return Split(weights, jnp.swapaxes(joint, -1, -2) / jnp.maximum(weights, 1e-8)[..., None])


def split_value(
  weights: Float[Array, "*N J"], stage_costs: Float[Array, "*N J"], next_values: Float[Array, "*N J"]
) -> Float[Array, "*N"]:
  """sum_j lambda_j (tau l(u_j, v_j) + V(x'_j, p_j)): the cost at a node, minimised by player 1, maximised by player 2.

  CAMS, arXiv 2502.00560; `stage_costs` include the factor tau, the length of a step.

  >>> print(split_value(jnp.array([0.75, 0.25]), jnp.array([1.0, 2.0]), jnp.array([0.0, 2.0])))
  1.75
  """
  if not weights.shape == stage_costs.shape == next_values.shape:
    raise ValueError(
      "split_value: expected arrays of one shape [... J], "
      f"got {weights.shape}, {stage_costs.shape} and {next_values.shape}"
    )
  return (widen(weights) * (widen(stage_costs) + widen(next_values))).sum(axis=-1)


def prototype_logprobs(
  logprobs: Float[Array, "B J"],
  log_signals: Float[Array, "B I J"],
  types: Int[Array, " B"],
  mask: Num[Array, " B"],
  prototypes: Int[Array, " B"] | None = None,
) -> Float[Array, " B"]:
  """log N_j(a) + log A_ij of an action a drawn from prototype j for type i; without `prototypes`, log-sum-exp over j.

  CAMS-DRL, arXiv 2502.00560: `logprobs` are those of the action under each component N_j. Store j in the rollout: the
  released code draws it again, so its ratio compares different components. 0 in masked rows.

  >>> logprobs, signals = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[[0.5, 0.5]]]))
  >>> first = jnp.array([0])
  >>> print(jnp.exp(prototype_logprobs(logprobs, signals, first, jnp.ones(1), first)).round(2))
  [0.25]
  """
  if logprobs.ndim != 2 or log_signals.ndim != 3 or log_signals[:, 0].shape != logprobs.shape:
    raise ValueError(
      f"prototype_logprobs: expected logprobs [B J] and log_signals [B I J], got {logprobs.shape}, {log_signals.shape}"
    )
  same_shape("prototype_logprobs", "B", types=types, mask=mask)
  rows = mask[:, None]
  chosen = jnp.take_along_axis(log_signals, jnp.where(mask != 0, types, 0)[:, None, None], axis=1)[:, 0]
  joint = zero_masked(logprobs, rows) + zero_masked(chosen, rows)
  if prototypes is None:
    return zero_masked(jax.nn.logsumexp(joint, axis=1), mask)
  index = jnp.where(mask != 0, prototypes, 0)[:, None]
  return zero_masked(jnp.take_along_axis(joint, index, axis=1)[:, 0], mask)
