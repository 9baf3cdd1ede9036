"""Losses on pairs of responses of which one is preferred."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, Bool, Float

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import zero_masked


class PreferenceLoss(NamedTuple):
  """Per-pair losses, and the margins z (positive: the policy ranks the pair as labelled); 0 in masked pairs."""

  losses: Float[Array, " B"]
  margins: Float[Array, " B"]


def dpo(
  chosen_logprobs: Float[Array, " B"],
  rejected_logprobs: Float[Array, " B"],
  ref_chosen_logprobs: Float[Array, " B"],
  ref_rejected_logprobs: Float[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  beta: float | Float[Array, ""] = 0.1,
  label_smoothing: float = 0.0,
) -> PreferenceLoss:
  """z = beta ((c - ref_c) - (r - ref_r)); loss = -(1 - e) log sigmoid(z) - e log sigmoid(-z).

  DPO, arXiv 2305.18290, equation 7; label_smoothing e > 0 is cDPO. Inputs are logprobs of whole responses (sums over
  tokens); `mask` is True on pairs that count. Gradient only through the policy's logprobs.

  BiPO, arXiv 2406.00045, and YaPO, arXiv 2601.08441: a steering vector is trained with d beta in the place of beta,
  d = -1 where it is subtracted (`activations.steer_sparse`).

  >>> args = [jnp.array([x]) for x in (-10.0, -12.0, -11.0, -11.5)]
  >>> print(dpo(*args, jnp.array([True])).losses.round(4))
  [0.621]
  """
  arrays = dict(
    chosen_logprobs=chosen_logprobs,
    rejected_logprobs=rejected_logprobs,
    ref_chosen_logprobs=ref_chosen_logprobs,
    ref_rejected_logprobs=ref_rejected_logprobs,
  )
  same_shape("dpo", "B", **arrays, mask=mask)
  chosen, rejected, ref_chosen, ref_rejected = (zero_masked(x, mask) for x in arrays.values())
  margins = beta * ((chosen - rejected) - jax.lax.stop_gradient(ref_chosen - ref_rejected))
  losses = -(1 - label_smoothing) * jax.nn.log_sigmoid(margins) - label_smoothing * jax.nn.log_sigmoid(-margins)
  return PreferenceLoss(zero_masked(losses, mask), jax.lax.stop_gradient(margins))
