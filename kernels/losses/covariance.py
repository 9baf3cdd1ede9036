"""Clip-Cov and KL-Cov: the few tokens whose update costs most entropy are left out, or held back by a penalty.

Tokens are compared over the whole batch [B, T]; hand over a minibatch, never a part of one.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels._log_ratios import FAR, log_ratios
from rl_jax.kernels.losses.policy import PolicyLoss, policy_gradient
from rl_jax.kernels.reductions import group_deviations, zero_masked


def token_covariances(
  logprobs: Float[Array, "B T"], advantages: Float[Array, "B T"], mask: Num[Array, "B T"]
) -> Float[Array, "B T"]:
  """(logp_t - mean logp) (A_t - mean A), means over all unmasked tokens: each token's part of the covariance.

  Entropy mechanism, arXiv 2505.22617, equation 10: a policy gradient step lowers the entropy by as much as the two
  correlate. No gradient; 0 in masked slots. A logprob of -inf counts as -1e5.

  >>> logprobs, advantages = jnp.array([[-1.0, -3.0, jnp.nan]]), jnp.array([[1.0, -1.0, 0.0]])
  >>> print(token_covariances(logprobs, advantages, jnp.array([[1, 1, 0]])))
  [[1. 1. 0.]]
  """
  same_shape("token_covariances", "B T", logprobs=logprobs, advantages=advantages, mask=mask)
  logprobs = jnp.maximum(zero_masked(logprobs, mask), -FAR)
  return jax.lax.stop_gradient(group_deviations(logprobs, None, mask) * group_deviations(advantages, None, mask))


def clip_cov(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  draws: Float[Array, "B T"],
  *,
  share: float = 2e-4,
  lowest: float = 1.0,
  highest: float = 5.0,
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """PPO's clipped loss without max(1, share N) of the N tokens, at random of those with a covariance within bounds.

  Clip-Cov, arXiv 2505.22617, section 4.2: lowest < cov < highest, of tokens that the clip leaves. `draws` are uniform
  numbers: the candidates with the largest ones are taken, all of them where they are too few. A token that is left out
  has loss and gradient 0 and counts in `clipped_high`, beside those beyond the upper bound.

  >>> logprobs, advantages, ones = jnp.array([[-0.5, -4.5]]), jnp.array([[1.0, -1.0]]), jnp.ones((1, 2))
  >>> loss = clip_cov(logprobs, logprobs, advantages, ones, jnp.array([[0.9, 0.2]]))
  >>> print(token_covariances(logprobs, advantages, ones), loss.losses)
  [[2. 2.]] [[0. 1.]]
  """
  same_shape("clip_cov", "B T", logprobs=logprobs, draws=draws)
  rows = (logprobs, old_logprobs, advantages, mask)
  loss = policy_gradient(*rows, clip_low=clip_low, clip_high=clip_high, max_log_ratio=max_log_ratio)
  covariances = token_covariances(logprobs, advantages, mask)
  unclipped = (mask != 0) & ~(loss.clipped_low | loss.clipped_high)
  candidates = unclipped & (covariances > lowest) & (covariances < highest)
  out = _largest(draws, candidates, _count(share, mask))
  losses = jnp.where(out, 0, loss.losses)
  return loss._replace(losses=losses, clipped_high=loss.clipped_high | out)


def kl_cov(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  share: float = 2e-4,
  coefficient: float = 1.0,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -r_t A_t, and + coefficient |logp_t - old_t| on the max(1, share N) of N tokens of largest covariance.

  KL-Cov, arXiv 2505.22617, section 4.2, with the penalty of the authors' code. Those tokens count in `clipped_high`;
  equal covariances are taken together. No ratio is clipped.

  >>> logprobs, advantages, ones = jnp.array([[-0.1, -4.0, -4.0]]), jnp.array([[1.0, -1.0, 0.0]]), jnp.ones((1, 3))
  >>> loss = kl_cov(logprobs, logprobs - 0.1, advantages, ones)
  >>> print(loss.losses.round(3), loss.clipped_high)
  [[-1.005  1.105  0.   ]] [[ True False False]]
  """
  loss = policy_gradient(logprobs, old_logprobs, advantages, mask, clip="none", max_log_ratio=max_log_ratio)
  held = _largest(token_covariances(logprobs, advantages, mask), mask != 0, _count(share, mask))
  penalty = coefficient * jnp.abs(log_ratios(logprobs, old_logprobs, mask))
  return loss._replace(losses=loss.losses + jnp.where(held, penalty, 0), clipped_high=held)


def _count(share, mask):
  """max(1, share N), rounded down."""
  return jnp.maximum(jnp.floor(share * (mask != 0).sum()).astype(jnp.int32), 1)


def _largest(x: Float[Array, "B T"], mask: Bool[Array, "B T"], count) -> Bool[Array, "B T"]:
  """Mask of the `count` largest unmasked values and those equal to the last of them; all where they are fewer.

  The last one is found bit by bit, from counts: a sort would move all tokens between devices.
  """
  x = zero_masked(x, mask)
  kind = jnp.dtype(f"int{8 * x.dtype.itemsize}")
  least, most = jnp.iinfo(kind).min, jnp.iinfo(kind).max
  bits = jax.lax.bitcast_convert_type(x, kind)
  order = jnp.where(bits < 0, bits ^ most, bits)  # integers in the order of the floats

  def halve(_, bounds):
    low, high = bounds
    middle = (low | high) - ((low ^ high) >> 1)  # rounded up, without overflow
    enough = (mask & (order >= middle)).sum() >= count
    return jnp.where(enough, middle, low), jnp.where(enough, high, middle - 1)

  bounds = jnp.asarray(least, kind), jnp.asarray(most, kind)
  lowest, _ = jax.lax.fori_loop(0, 8 * x.dtype.itemsize, halve, bounds)
  return mask & (order >= lowest)
