"""Log ratios within bounds that keep losses and gradients finite, importance ratios, the straight-through estimator."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.reductions import masked_mean, zero_masked

RATIOS = ("token", "sequence", "sequence_sum")
FAR = 1e5
"""Largest |log ratio|: beyond any difference of a model's finite logprobs; sums of its squares do not overflow."""
_LOWEST = -1e30
"""Substitute for a logprob of -inf: more than `FAR` below any logprob of a model, with finite differences."""


def log_ratios(
  logprobs: Float[Array, "*N"], other_logprobs: Float[Array, "*N"], mask: Num[Array, "*N"]
) -> Float[Array, "*N"]:
  """d = logp - sg(other), within +-FAR, with gradient 0 beyond and for a logp of -inf; 0 in masked slots.

  Two logprobs of -inf are equal, d = 0. NaN stays NaN: it is an error of the caller.
  """
  logprobs, other_logprobs = (jnp.maximum(zero_masked(x, mask), _LOWEST) for x in (logprobs, other_logprobs))
  return jnp.clip(logprobs - jax.lax.stop_gradient(other_logprobs), -FAR, FAR)


def straight_through(value: Float[Array, "*N"], differentiated: Float[Array, "*N"]) -> Float[Array, "*N"]:
  """`value` exactly, with the gradient of `differentiated`, which has to be finite."""
  # Not sg(value - differentiated) + differentiated, which rounds the value to the other's last digit; and a difference
  # of differences, as a sum would lose the sign of a value of -0.
  return jax.lax.stop_gradient(value) - (jax.lax.stop_gradient(differentiated) - differentiated)


def importance_ratios(
  differences: Float[Array, "B T"], mask: Num[Array, "B T"], ratio: str, max_log_ratio: float
) -> Float[Array, "B T"]:
  """exp of log ratios [B, T], 0 in masked slots: each token's own, or its sequence's; see `policy_gradient`."""
  if ratio == "sequence":
    # The value is the sequence's, the gradient of each token its own: with one advantage per row and
    # sequence_mean_token_mean this is GSPO exactly, and per-token advantages remain possible (GSPO-token).
    mean = masked_mean(differences, mask != 0, axis=1).value[:, None]
    differences = straight_through(mean, differences)
  elif ratio == "sequence_sum":
    differences = jnp.broadcast_to(differences.sum(axis=1, keepdims=True), differences.shape)
  return jnp.exp(jnp.clip(differences, -max_log_ratio, max_log_ratio))
