"""SPO's loss: clipped policy gradient and KL on the tokens where the policy was uncertain."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels.advantages.segment import probability_mask
from rl_jax.kernels.losses.divergence import kl
from rl_jax.kernels.losses.policy import policy_gradient
from rl_jax.kernels.reductions import Mean, aggregate, masked_mean


class SegmentLoss(NamedTuple):
  """Sums and weights of a micro-batch; add those of all micro-batches before `total`."""

  policy: Mean
  """Policy loss over uncertain tokens."""
  kl: Mean
  """KL times its coefficient: summed over uncertain tokens, mean over responses."""
  ratio: Mean
  """Ratio of new to old probabilities over uncertain tokens; no gradient."""

  def total(self, *, max_ratio: float = 10.0) -> Float[Array, ""]:
    """Policy loss + KL loss; 0, so that the minibatch is skipped, where the mean ratio is above `max_ratio`."""
    return jnp.where(self.ratio.value > max_ratio, 0, self.policy.value + self.kl.value)


def spo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  ref_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  threshold: float = 0.9,
  clip: float = 0.2,
  kl_coefficient: float = 1e-4,
) -> SegmentLoss:
  """sum_M -min(r A, clip(r, 1 - e, 1 + e) A) / |M| + beta mean_b sum_{t in M} k3_t, M as in `probability_mask`.

  SPO, arXiv 2505.23564, as in its code: log r and logp - ref are held within +-10; `advantages` are whitened by
  `advantages.segment.whiten_uncertain`. Every response with an unmasked token counts as one of the b. No
  uncertain token: 0 (NaN in the code).

  >>> logprobs = jnp.log(jnp.array([[0.6, 0.5]]))
  >>> old_logprobs = jnp.log(jnp.array([[0.5, 0.95]]))
  >>> loss = spo(logprobs, old_logprobs, old_logprobs, jnp.ones((1, 2)), jnp.ones((1, 2)))
  >>> print(loss.policy.value.round(3), loss.policy.weight, (loss.kl.value * 1e4).round(3), loss.total().round(3))
  -1.2 1.0 0.016 -1.2
  """
  uncertain = probability_mask(old_logprobs, mask, threshold=threshold)
  policy = policy_gradient(
    logprobs, old_logprobs, advantages, uncertain, clip_low=clip, clip_high=clip, max_log_ratio=10.0
  )
  divergence = aggregate(
    kl(logprobs, ref_logprobs, uncertain, log_ratio_clamp=10.0),
    uncertain,
    mode="sequence_mean_token_sum",
    rows=(mask != 0).any(axis=1),
  )
  return SegmentLoss(
    aggregate(policy.losses, uncertain, mode="token_mean"),
    Mean(kl_coefficient * divergence.sum, divergence.weight),
    masked_mean(policy.ratios, uncertain),
  )
