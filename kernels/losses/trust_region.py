"""Trust regions other than PPO's clip: a soft gate (SAPO), a geometric mean (GMPO), a divergence (DPPO), a kernel over
whole responses (VESPO). Signatures and results are those of `policy_gradient`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels._log_ratios import RATIOS, importance_ratios, log_ratios
from rl_jax.kernels.losses.policy import PolicyLoss, cispo
from rl_jax.kernels.reductions import zero_masked

DIVERGENCES = ("tv", "kl")
_LEAST = 1e-8
"""Least probability of all other tokens together, below which their part of a divergence is cut, as in verl."""


def sapo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  ratio: str = "token",
  tau_positive: float = 1.0,
  tau_negative: float = 1.05,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -f(r_t) A_t, f(r) = 4 / tau sigmoid(tau (r - 1)): a gate with slope 1 at r = 1 and 0 far from it.

  SAPO, arXiv 2511.20347. tau is `tau_positive` where A > 0, else `tau_negative`, whose gate closes sooner; to be
  aggregated by "sequence_mean_token_mean". Nothing is clipped. `ratio` is that of `policy_gradient`. The value at r = 1
  is -2 A / tau: test gradients.

  >>> ones = jnp.ones((1, 2))
  >>> print(sapo(jnp.log(jnp.array([[1.0, 2.0]])), 0 * ones, ones, ones).losses.round(3))
  [[-2.    -2.924]]
  """
  known_option("sapo", "ratio", ratio, RATIOS)
  same_shape("sapo", "B T", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
  _positive("sapo", tau_positive=tau_positive, tau_negative=tau_negative)
  advantages = jax.lax.stop_gradient(zero_masked(advantages, mask))
  ratios = importance_ratios(log_ratios(logprobs, old_logprobs, mask), mask, ratio, max_log_ratio)
  tau = jnp.where(advantages > 0, tau_positive, tau_negative)
  return PolicyLoss.masked(-4 / tau * jax.nn.sigmoid(tau * (ratios - 1)) * advantages, ratios, mask)


def gmpo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  clip_low: float = 0.4,
  clip_high: float = 0.4,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -A_i (prod_t c_t)^(1 / |o_i|), c_t = min(r_t, e^clip_high) where A > 0, max(r_t, e^-clip_low) where A < 0.

  GMPO, arXiv 2507.20673, equation 4: the geometric mean of ratios that are clipped one by one, at the side where PPO
  clips. Bounds are of log r. A clipped token has no gradient, the others keep theirs (GSPO clips whole responses). To
  be aggregated by "sequence_mean_token_mean", with one advantage per row as in the paper. `clipped_low` and
  `clipped_high` mark the clipped tokens, `ratios` are those of the rows.

  >>> loss = gmpo(jnp.array([[0.6, 0.2]]), jnp.zeros((1, 2)), jnp.ones((1, 2)), jnp.ones((1, 2)))
  >>> print(loss.losses.round(3), loss.clipped_high)
  [[-1.35 -1.35]] [[ True False]]
  """
  same_shape("gmpo", "B T", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
  advantages = jax.lax.stop_gradient(zero_masked(advantages, mask))
  differences = log_ratios(logprobs, old_logprobs, mask)
  low, high = (advantages < 0) & (differences < -clip_low), (advantages > 0) & (differences > clip_high)
  held = jnp.where(low, -clip_low, jnp.where(high, clip_high, differences))
  ratios = importance_ratios(held, mask, "sequence", max_log_ratio)
  return PolicyLoss.masked(-ratios * advantages, ratios, mask, low, high)


def dppo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  divergence: str = "tv",
  clip_low: float = 0.2,
  clip_high: float = 0.2,
  max_ratio: float = 20.0,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -m_t sg[min(r_t, max_ratio)] A_t logp_t; m_t = 0 where a token has moved too far in the direction of A_t.

  DPPO, arXiv 2602.04879, equations 12 to 14: bounds of a divergence replace those of the ratio, which moves much for
  unlikely tokens and little for likely ones. With p and q the token's probabilities under the policy and the old one,
  `divergence` compares two outcomes, this token or any other:
  - "tv": |p - q|;
  - "kl": q log(q / p) + (1 - q) log((1 - q) / (1 - p)), with bounds of 0.05.
  m is 0 where p > q, A > 0 and it is above clip_high (`clipped_high`), and where p < q, A < 0 and it is above clip_low.
  The gradient is that of -m r A while r is at most `max_ratio`, verl's cap. old_logprobs are the sampler's.

  >>> ones = jnp.ones((1, 2))
  >>> loss = dppo(jnp.log(jnp.array([[0.9, 0.02]])), jnp.log(jnp.array([[0.6, 0.01]])), ones, ones)
  >>> print(loss.clipped_high, loss.losses.round(1))
  [[ True False]] [[0.  7.8]]
  """
  known_option("dppo", "divergence", divergence, DIVERGENCES)
  loss = cispo(logprobs, old_logprobs, advantages, mask, clip_low=0.0, clip_high=max_ratio, max_log_ratio=max_log_ratio)
  advantages = zero_masked(advantages, mask)
  log_p, log_q = (jax.lax.stop_gradient(zero_masked(x, mask)) for x in (logprobs, old_logprobs))
  p, q = jnp.exp(log_p), jnp.exp(log_q)
  moved = jnp.abs(p - q)
  if divergence == "kl":
    others = lambda x: jnp.log(jnp.maximum(-jnp.expm1(x), _LEAST))
    moved = (1 - q) * (others(log_q) - others(log_p)) - q * log_ratios(log_p, log_q, mask)
  low, high = (advantages < 0) & (p < q) & (moved > clip_low), (advantages > 0) & (p > q) & (moved > clip_high)
  return PolicyLoss.masked(jnp.where(low | high, 0, loss.losses), loss.ratios, mask, low, high)


def vespo(
  logprobs: Float[Array, "B T"],
  old_logprobs: Float[Array, "B T"],
  advantages: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  k_positive: float = 2.0,
  lambda_positive: float = 3.0,
  k_negative: float = 3.0,
  lambda_negative: float = 2.0,
  max_log_ratio: float = 20.0,
) -> PolicyLoss:
  """l_t = -sg[phi(W_i)] A_t logp_t, phi(W) = W^k e^(lambda (1 - W)), W_i = prod_t r_t.

  VESPO, arXiv 2602.10693, section 3.4: a kernel of the whole response's importance weight, without a division by its
  length; phi(1) = 1, the largest value is at W = k / lambda, and phi is 0 far on either side. k and lambda go by the
  sign of A_t, those of A = 0 are the positive ones. To be aggregated by "token_mean", as in the authors' code. `ratios`
  are W.

  >>> ones = jnp.ones((1, 2))
  >>> logp = jnp.log(jnp.array([[0.4, 0.5]]))
  >>> loss = vespo(logp, jnp.log(jnp.array([[0.2, 0.5]])), ones, ones)
  >>> print(loss.ratios.round(3), (loss.losses / -logp).round(1))
  [[2. 2.]] [[0.2 0.2]]
  """
  same_shape("vespo", "B T", logprobs=logprobs, old_logprobs=old_logprobs, advantages=advantages, mask=mask)
  advantages = zero_masked(advantages, mask)
  differences = jax.lax.stop_gradient(log_ratios(logprobs, old_logprobs, mask))
  weights = importance_ratios(differences, mask, "sequence_sum", max_log_ratio)
  k = jnp.where(advantages >= 0, k_positive, k_negative)
  decay = jnp.where(advantages >= 0, lambda_positive, lambda_negative)
  phi = jnp.exp(k * jnp.log(weights) + decay * (1 - weights))
  # With both bounds at 1, CISPO is REINFORCE.
  losses = cispo(logprobs, old_logprobs, phi * advantages, mask, clip_low=1.0, clip_high=1.0).losses
  return PolicyLoss.masked(losses, weights, mask)


def _positive(function, **options):
  for name, value in options.items():
    if isinstance(value, int | float) and not value > 0:
      raise ValueError(f"{function}: {name} is above 0, got {value}")
