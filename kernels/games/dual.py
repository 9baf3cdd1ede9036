"""The dual game, which gives the uninformed player's strategy: the convex conjugate of the value in the belief."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import widen


def dual_terminal(p_hat: Float[Array, "*N I"], costs: Float[Array, "*N I"]) -> Float[Array, "*N"]:
  """V*(p_hat) = max_i (p_hat_i - g_i) = max_p (p . p_hat - sum_i p_i g_i).

  CAMS, arXiv 2502.00560.

  >>> print(dual_terminal(jnp.array([0.5, 1.0]), jnp.array([0.0, 2.0])))
  0.5
  """
  if p_hat.shape != costs.shape:
    raise ValueError(f"dual_terminal: expected arrays of one shape [... I], got {p_hat.shape} and {costs.shape}")
  return (widen(p_hat) - widen(costs)).max(axis=-1)


def dual_backup(
  p_hat: Float[Array, "*N I"],
  weights: Float[Array, "*N J"],
  duals: Float[Array, "*N J I"],
  next_values: Float[Array, "*N J"],
  *,
  penalty: float = 8.0,
) -> Float[Array, "*N"]:
  """sum_j lambda_j V*(x'_j, p_hat_j - tau l_j) + penalty (|p_hat - sum_j lambda_j p_hat_j| + max(-lambda_J, 0)).

  CAMS, arXiv 2502.00560, code: player 2 minimises it over J = I + 1 replies, weights and duals |p_hat_j| <= 1.4; the
  penalty replaces constraints on weights and duals. The last weight is 1 - the others + 1e-6. `next_values` are V* at
  p_hat_j minus the cost of the step. The norm is sqrt(square + 1e-12).

  >>> half, duals = jnp.array([0.5, 0.5]), jnp.array([[1.0, 0.0], [0.0, 1.0]])
  >>> print(f"{dual_backup(half, half, duals, jnp.array([2.0, 4.0])):.3f}")
  3.000
  """
  if duals.shape != (*weights.shape, p_hat.shape[-1]) or next_values.shape != weights.shape:
    raise ValueError(
      "dual_backup: expected p_hat [... I], weights and next_values [... J] and duals [... J I], "
      f"got {p_hat.shape}, {weights.shape}, {next_values.shape} and {duals.shape}"
    )
  p_hat, weights, duals, next_values = (widen(x) for x in (p_hat, weights, duals, next_values))
  apart = p_hat - (weights[..., None] * duals).sum(axis=-2)
  norm = jnp.sqrt(jnp.square(apart).sum(axis=-1) + 1e-12)
  return (weights * next_values).sum(axis=-1) + penalty * (norm + jax.nn.relu(-weights[..., -1]))
