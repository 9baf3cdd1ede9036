"""The policy gradient family: PPO, GRPO, DAPO, GSPO and RLOO as one ratio, one clip, one aggregation; and CISPO."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels._log_ratios import FAR, RATIOS, importance_ratios, log_ratios
from rl_jax.kernels.reductions import zero_masked

CLIPS = ("ppo", "none")


class PolicyLoss(NamedTuple):
  """Per-token losses to aggregate, and what to log; 0 and False in masked slots. Only `losses` carry gradient."""

  losses: Float[Array, "B T"]
  ratios: Float[Array, "B T"]
  clipped_low: Bool[Array, "B T"]
  """The lower bound took effect: ppo, A < 0 and r < 1 - clip_low; cispo, r < clip_low; others, see their docstrings."""
  clipped_high: Bool[Array, "B T"]
  """The upper bound took effect: ppo, A > 0 and r > 1 + clip_high; cispo, r > clip_high."""
  clipped_dual: Bool[Array, "B T"]
  """The dual clip took effect: A < 0 and r > dual_clip."""

  @classmethod
  def masked(
    cls,
    losses: Float[Array, "B T"],
    ratios: Float[Array, "B T"],
    mask: Num[Array, "B T"],
    low: Bool[Array, "B T"] | bool = False,
    high: Bool[Array, "B T"] | bool = False,
    dual: Bool[Array, "B T"] | bool = False,
  ) -> PolicyLoss:
    """The loss with 0 and False in masked slots; only `losses` keep their gradient."""
    return cls(
      zero_masked(losses, mask),
      jax.lax.stop_gradient(zero_masked(ratios, mask)),
      *((mask != 0) & clipped for clipped in (low, high, dual)),
    )


def policy_gradient(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  ratio: str = "token",
  clip: str = "ppo",
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  dual_clip: float | None = None,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -min(r_t A_t, clip(r_t, 1 - clip_low, 1 + clip_high) A_t), r_t = exp(logp_t - old_t), to be aggregated.

  PPO, arXiv 1707.06347, equation 7. `ratio`: "token"; "sequence", exp(mean_t(logp - old)) (GSPO, arXiv 2507.18071,
  equations 5 and 14, bounds 3e-4 and 4e-4); "sequence_sum", exp(sum_t(logp - old)) (RLOO as in TRL). Both sequence
  forms go with aggregation "sequence_mean_token_mean"; LUSPO (arXiv 2602.05261), which multiplies GSPO's loss of a
  response by its length, is "sequence" with "sequence_mean_token_sum". `clip`:
  - "ppo": bounds are distances from 1; DAPO (arXiv 2503.14476, equation 10) raises clip_high to 0.28. `dual_clip` c > 1
    (arXiv 1912.09729): for A < 0 the loss is at most -c A; verl has c = 3 on, others off.
  - "none": -r_t A_t.
  log r is held within +-max_log_ratio, also where a logprob is -inf. Rows without tokens give 0.

  >>> ones = jnp.ones((1, 2))
  >>> loss = policy_gradient(jnp.log(jnp.array([[1.5, 0.5]])), 0 * ones, ones, ones)
  >>> print(loss.losses.round(3), loss.clipped_high)
  [[-1.2 -0.5]] [[ True False]]
  """
  known_option("policy_gradient", "ratio", ratio, RATIOS)
  known_option("policy_gradient", "clip", clip, CLIPS)
  same_shape("policy_gradient", "B T", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
  if dual_clip is not None and clip != "ppo":
    raise ValueError(f"policy_gradient: dual_clip belongs to clip='ppo', got clip={clip!r}")
  advantages = jax.lax.stop_gradient(zero_masked(advantages, mask))
  ratios = importance_ratios(log_ratios(logprobs, old_logprobs, mask), mask, ratio, max_log_ratio)
  losses = -ratios * advantages
  clipped_low = clipped_high = clipped_dual = jnp.zeros(ratios.shape, bool)
  if clip == "ppo":
    losses = jnp.maximum(losses, -jnp.clip(ratios, 1 - clip_low, 1 + clip_high) * advantages)
    clipped_low = (advantages < 0) & (ratios < 1 - clip_low)
    clipped_high = (advantages > 0) & (ratios > 1 + clip_high)
  if dual_clip is not None:
    losses = jnp.where(advantages < 0, jnp.minimum(losses, -dual_clip * advantages), losses)
    clipped_dual = (advantages < 0) & (ratios > dual_clip)
  return PolicyLoss.masked(losses, ratios, mask, clipped_low, clipped_high, clipped_dual)


def cispo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  ratio: str = "token",
  clip_low: float = 0.0,
  clip_high: float = 5.0,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -sg[clip(r_t, clip_low, clip_high)] A_t logp_t: REINFORCE with clipped importance weights, to be aggregated.

  CISPO, arXiv 2506.13585, equation 4. The bounds are ABSOLUTE ratios, default 0 and 5 as in TRL; 1 - e and 1 + e give
  the paper's form. The gradient reaches every token, those beyond the bounds too; the value depends on logp and means
  nothing. `ratio` and `max_log_ratio` are those of `policy_gradient`; a logprob of -inf has no gradient.

  >>> ones = jnp.ones((1, 2))
  >>> loss = cispo(jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.5, 0.05]])), ones, ones)
  >>> print(loss.losses.round(3), loss.clipped_high)
  [[0.693 3.466]] [[False  True]]
  """
  known_option("cispo", "ratio", ratio, RATIOS)
  same_shape("cispo", "B T", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
  if isinstance(clip_high, int | float) and clip_high < 1:
    raise ValueError(f"cispo: clip_high is an absolute ratio of at least 1, got {clip_high}")
  advantages = jax.lax.stop_gradient(zero_masked(advantages, mask))
  differences = log_ratios(logprobs, old_logprobs, mask)
  ratios = jax.lax.stop_gradient(importance_ratios(differences, mask, ratio, max_log_ratio))
  bounded = jnp.maximum(zero_masked(logprobs, mask), -FAR)  # finite, with gradient 0, where a logprob is -inf
  losses = -jnp.clip(ratios, clip_low, clip_high) * advantages * bounded
  return PolicyLoss.masked(losses, ratios, mask, ratios < clip_low, ratios > clip_high)
