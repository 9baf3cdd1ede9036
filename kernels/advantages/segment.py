"""SPO-chain: a response is cut where the policy is uncertain; a segment is worth the difference of values at its ends.

The value before a segment is a plain Monte Carlo mean over completions from there (`masked_mean` of their rewards,
unfinished ones 0), so there is no critic. Advantages carry no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.returns import gae
from rl_jax.kernels.reductions import group_deviations, group_mean, group_std, zero_masked
from rl_jax.kernels.scans import running_sums
from rl_jax.kernels.segments import on_tokens


class Segments(NamedTuple):
  """Segments that a response is cut into."""

  ids: Int[Array, "B T"]
  """Segment of each token, -1 before the first cut; masked slots have that of the token before them."""
  starts: Int[Array, "B S"]
  """Number of unmasked tokens before each segment: the prefix from which its value is estimated."""
  mask: Bool[Array, "B S"]
  """True for those of the S segments that exist."""


class ChainAdvantages(NamedTuple):
  """Credit of the segments, on their tokens and by segment; 0 in masked slots."""

  tokens: Float[Array, "B T"]
  segments: Float[Array, "B S"]


def _probabilities(old_logprobs, mask):
  return jnp.exp(zero_masked(old_logprobs, mask))


def probability_mask(
  old_logprobs: Float[Array, "B T"], mask: Num[Array, "B T"], *, threshold: float = 0.9
) -> Bool[Array, "B T"]:
  """mask_t and p_t < threshold, p_t = exp(old_logprobs_t): tokens where the policy was uncertain, which are trained.

  SPO, arXiv 2505.23564. Keep thresholds away from probabilities that are exact: rounding decides on p = threshold.

  >>> print(probability_mask(jnp.log(jnp.array([[0.95, 0.5, 0.5]])), jnp.array([[1, 1, 0]])))
  [[False  True False]]
  """
  same_shape("probability_mask", "B T", old_logprobs=old_logprobs, mask=mask)
  return (mask != 0) & (_probabilities(old_logprobs, mask) < threshold)


def cutpoint_segments(
  old_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  num_segments: int,
  interval: int = 5,
  threshold: float = 0.9,
) -> Segments:
  """id_t = floor((#{uncertain tokens <= t} - 1) / interval): every interval-th uncertain token begins a segment.

  SPO, arXiv 2505.23564; uncertain as in `probability_mask`. Tokens before the first uncertain token are in no segment,
  and a response without any has no segment. ceil(T / interval) segments always suffice; with fewer, the last one runs
  to the end of the response, so that the number of value estimates can be bounded (not in the paper).

  >>> old_logprobs = jnp.log(jnp.array([[0.95, 0.5, 0.99, 0.6, 0.7, 0.98]]))
  >>> ids, starts, mask = cutpoint_segments(old_logprobs, jnp.ones((1, 6)), num_segments=3, interval=2)
  >>> print(ids, starts, mask)
  [[-1  0  0  0  1  1]] [[1 4 0]] [[ True  True False]]
  """
  if min(num_segments, interval) < 1:
    raise ValueError(f"cutpoint_segments: num_segments and interval start at 1, got {num_segments} and {interval}")
  uncertain = probability_mask(old_logprobs, mask, threshold=threshold)
  counts, tokens = running_sums(uncertain), running_sums(mask != 0)
  # The cut of segment j is the token that brings the count to j interval + 1; the counts only grow, so it is searched.
  wanted = jnp.arange(num_segments) * interval + 1
  cuts = jax.vmap(lambda row: jnp.searchsorted(row, wanted))(counts)
  exists = cuts < mask.shape[1]
  before = jnp.take_along_axis(tokens, jnp.where(exists, cuts, 0), axis=1) - 1
  return Segments(
    jnp.minimum((counts - 1) // interval, num_segments - 1), jnp.where(exists, before, 0).astype(jnp.int32), exists
  )


def spo_chain(
  cut_values: Float[Array, "B S"],
  rewards: Float[Array, " B"],
  old_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  interval: int = 5,
  threshold: float = 0.9,
  tokens: str = "uncertain",
) -> ChainAdvantages:
  """A_j = V_{j+1} - V_j, and A = reward - V for the last segment, on its tokens with p_t <= threshold.

  SPO-chain, arXiv 2505.23564: GAE with lam 0 over segments. `cut_values` are the values V_j before the segments that
  `cutpoint_segments` gives for num_segments S; `rewards` those of the whole responses. `tokens` "all" leaves the credit
  on certain tokens too (the authors' ablation). The segments add up to reward - V_0; without a segment all is 0.

  >>> old_logprobs = jnp.log(jnp.array([[0.95, 0.5, 0.99, 0.6]]))
  >>> chain = spo_chain(jnp.array([[0.25, 0.75]]), jnp.array([0.0]), old_logprobs, jnp.ones((1, 4)), interval=1)
  >>> print(chain.tokens, chain.segments)
  [[ 0.    0.5   0.   -0.75]] [[ 0.5  -0.75]]
  """
  known_option("spo_chain", "tokens", tokens, ("uncertain", "all"))
  segments = cutpoint_segments(
    old_logprobs, mask, num_segments=cut_values.shape[1], interval=interval, threshold=threshold
  )
  no_rewards = jnp.zeros_like(cut_values)
  credit = gae(no_rewards, cut_values, segments.mask, lam=0.0, bootstrap=rewards).advantages
  credited = mask != 0
  if tokens == "uncertain":
    credited &= _probabilities(old_logprobs, mask) <= threshold
  return ChainAdvantages(on_tokens(credit, segments.ids, credited), credit)


def whiten_uncertain(
  advantages: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  threshold: float = 0.9,
) -> Float[Array, "B T"]:
  """(A - mean_M) / sqrt(var_M + 1e-8), M the tokens of `probability_mask`, over all of the batch; var_M is unbiased.

  SPO, arXiv 2505.23564, as in its code; all tokens if M is empty. Unmasked tokens outside M are shifted and scaled too,
  but the loss does not see them. Raw advantages of 0 do not stay 0. An M of one token or one value gives 0 on M (not in
  the paper).

  >>> old_logprobs = jnp.log(jnp.array([[0.5, 0.5, 0.5, 0.95]]))
  >>> print(whiten_uncertain(jnp.array([[1.0, 2.0, 3.0, 0.0]]), old_logprobs, jnp.ones((1, 4))).round(3))
  [[-1.  0.  1. -2.]]
  """
  same_shape("whiten_uncertain", "B T", advantages=advantages, old_logprobs=old_logprobs, mask=mask)
  uncertain = probability_mask(old_logprobs, mask, threshold=threshold)
  pooled = jnp.where(uncertain.any(), uncertain, mask != 0)
  shifted = zero_masked(advantages, mask) - group_mean(advantages, None, pooled)
  centred = jnp.where(pooled, group_deviations(advantages, None, pooled), shifted)
  variance = jnp.square(group_std(advantages, None, pooled, ddof=1)) + 1e-8
  return jax.lax.stop_gradient(zero_masked(centred * jax.lax.rsqrt(variance), mask))
