"""Weights of one policy's data by another's: cut off from above, against a mixture, along a sequence.

GLOW, arXiv 2401.09681. Weights are at least 0, and infinite where only the numerator has mass. No gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.reductions import widen, zero_masked
from rl_jax.kernels.scans import running_sums


def truncated_weights(weights: Float[Array, "*N"], cap: Float[Array, ""]) -> Float[Array, "*N"]:
  """min(w, cap), from above alone.

  GLOW, arXiv 2401.09681: the cap of iteration t is gamma t, so it grows with the data.

  >>> print(truncated_weights(jnp.array([0.5, jnp.inf]), jnp.array(2.0)))
  [0.5 2. ]
  """
  return jax.lax.stop_gradient(jnp.minimum(widen(weights), widen(jnp.asarray(cap))))


def mixture_weights(weights: Float[Array, "M *N"]) -> Float[Array, "*N"]:
  """1 / mean_s w_s, w_s = d^s / d^pi for M past policies s: the ratio of pi to their mixture; infinite where all are 0.

  GLOW, arXiv 2401.09681, equation 34.

  >>> print(mixture_weights(jnp.array([[2.0, 0.5, 0.0], [2.0, 0.0, 0.0]])))
  [0.5 4.  inf]
  """
  mean = widen(weights).mean(axis=0)
  return jax.lax.stop_gradient(jnp.where(mean > 0, 1 / jnp.where(mean > 0, mean, 1), jnp.inf))


def prefix_weights(
  logprobs: Float[Array, "B T"], old_logprobs: Float[Array, "B M T"], mask: Num[Array, "B T"]
) -> Float[Array, "B T"]:
  """w_t = exp(sum_{s <= t} logp_s - log mean_m exp(sum_{s <= t} logp_{m s})): a prefix against a replay's M policies.

  GLOW, arXiv 2401.09681, for sequences, whose states are their prefixes (our reading). Cut it off by
  `truncated_weights`. Logprobs are finite; 0 in masked slots.

  >>> logprobs, old = jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[[0.25, 0.5], [0.75, 0.5]]]))
  >>> print(prefix_weights(logprobs, old, jnp.ones((1, 2))).round(2))
  [[1. 1.]]
  """
  if old_logprobs.ndim != 3 or logprobs.shape != mask.shape or old_logprobs[:, 0].shape != mask.shape:
    raise ValueError(
      "prefix_weights: expected logprobs [B T], old_logprobs [B M T] and mask [B T], "
      f"got {logprobs.shape}, {old_logprobs.shape} and {mask.shape}"
    )
  along = jax.vmap(running_sums, in_axes=1, out_axes=1)
  old = along(zero_masked(old_logprobs, mask[:, None]))
  mixture = jax.nn.logsumexp(old, axis=1) - jnp.log(old.shape[1])
  return jax.lax.stop_gradient(zero_masked(jnp.exp(running_sums(zero_masked(logprobs, mask)) - mixture), mask))
