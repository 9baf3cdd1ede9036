"""Two clipped policy losses of the same tokens, one for each of two advantages, joined by a weight per response."""

from __future__ import annotations

from typing import NamedTuple

import jax
from jaxtyping import Array, Float, Num

from rl_jax.kernels.losses.policy import PolicyLoss, policy_gradient
from rl_jax.kernels.reductions import per_token


class BlendedLoss(NamedTuple):
  """The joined losses, and the two they are made of, with what to log; 0 and False in masked slots."""

  losses: Float[Array, "B T"]
  local: PolicyLoss
  between: PolicyLoss


def copo_loss(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  local_advantages: Float[Array, "B T"],
  global_advantages: Float[Array, "B T"],
  weights: Float[Array, " B"],
  mask: Num[Array, "B T"],
  *,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float | None = 3.0,
  global_coefficient: float = 1.0,
) -> BlendedLoss:
  """l_t = w_i l(A_t) + (1 - w_i) l(A^g_t), l of `policy_gradient`, for aggregation "sequence_mean_token_mean".

  COPO, arXiv 2508.04138, with the advantages and weights of `advantages.consistency`. Within the clip range
  this is the loss of the blended advantage; outside it is not, as advantages of different signs clip at different
  sides. `global_coefficient` multiplies the second part (the mode only-soft-with-coef of its code). No gradient
  through the weights.

  >>> ones = jnp.ones((1, 2))
  >>> loss = copo_loss(jnp.log(jnp.array([[2.0, 1.0]])), 0 * ones, ones, -ones, jnp.array([0.75]), ones)
  >>> print(loss.losses.round(3))
  [[-0.4 -0.5]]
  """
  if weights.shape != mask.shape[:1]:
    raise ValueError(f"copo_loss: expected weights [B], got {weights.shape} beside {mask.shape}")
  local, between = (
    policy_gradient(
      logprobs, old_logprobs, advantages, mask, clip_low=clip_low, clip_high=clip_high, dual_clip=dual_clip
    )
    for advantages in (local_advantages, global_advantages)
  )
  share = jax.lax.stop_gradient(per_token(weights, mask))
  losses = share * local.losses + global_coefficient * (1 - share) * between.losses
  return BlendedLoss(losses, local, between)
