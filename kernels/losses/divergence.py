"""Divergence from a reference policy, estimated at sampled tokens: its value and its gradient."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels._log_ratios import log_ratios, straight_through
from rl_jax.kernels.reductions import widen, zero_masked

MAX_EXPONENT = 20.0
"""Largest exponent of k3: verl's bound, and that of `policy_gradient`."""


def _k3(d):
  # The bound comes before exp: the gradient of a clamp behind an exp that overflows is 0 * inf = NaN.
  d = jnp.maximum(d, -MAX_EXPONENT)
  # expm1 keeps digits near d = 0, where exp(-d) - 1 + d cancels.
  return jnp.expm1(-d) + d


ESTIMATORS = {"k1": lambda d: d, "k2": lambda d: jnp.square(d) / 2, "k3": _k3}


def kl(
  logprobs: Float[Array, "B T"],
  ref_logprobs: Float[Array, "B T"],
  mask: Num[Array, "B T"],
  *,
  value: str = "k3",
  gradient: str | None = None,
  log_ratio_clamp: float | None = None,
  value_clamp: float | None = None,
) -> Float[Array, "B T"]:
  """Estimates of KL(policy || reference), d = logp - ref: k1 = d, k2 = d^2 / 2, k3 = exp(-d) + d - 1.

  Schulman, "Approximating KL divergence" (2020); k3 is GRPO's, arXiv 2402.03300, equation 4. The value and the
  gradient are separate: `gradient` names the estimator that is differentiated while `value` is returned (straight
  through, verl's "k3+" is value k3, gradient k2); None differentiates the value. On policy, k1 has mean gradient 0,
  k2 has the gradient of KL(policy || reference), k3 that of KL(reference || policy).

  The result is finite, with gradient 0 where a bound is active: |d| is at most 1e5, also where a logprob is -inf, and
  k3 is constant below d = -20, where its gradient would exceed 4.8e8. `log_ratio_clamp` is a closer bound of d, for
  both estimators. `value_clamp` bounds the value (verl's k3: 20 and 10); it does not act on the gradient of another
  estimator. Both are off by default. 0 in masked slots.

  >>> print(kl(jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.5, 0.25]])), jnp.ones((1, 2))).round(3))
  [[0.    0.193]]
  """
  known_option("kl", "value", value, ESTIMATORS)
  same_shape("kl", "B T", logprobs=logprobs, ref_logprobs=ref_logprobs, mask=mask)
  d = log_ratios(logprobs, ref_logprobs, mask)
  if log_ratio_clamp is not None:
    d = jnp.clip(d, -log_ratio_clamp, log_ratio_clamp)
  estimate = ESTIMATORS[value](d)
  if value_clamp is not None:
    estimate = jnp.clip(estimate, -value_clamp, value_clamp)
  if gradient is not None:
    known_option("kl", "gradient", gradient, ESTIMATORS)
    estimate = straight_through(estimate, ESTIMATORS[gradient](d))
  return zero_masked(estimate, mask)


def adaptive_kl_coefficient(
  coefficient: Float[Array, ""] | float,
  kl_value: Float[Array, ""] | float,
  *,
  target: float,
  horizon: float,
  num_steps: int = 1,
) -> Float[Array, ""]:
  """beta <- beta (1 + clip(kl / target - 1, -0.2, 0.2) num_steps / horizon): steers the KL towards a target.

  Ziegler et al., arXiv 1909.08593, section 2.2. `kl_value` is the mean KL of the batch, `num_steps` what the horizon
  counts (verl: sequences). No gradient.

  >>> print(adaptive_kl_coefficient(0.1, 12.0, target=6.0, horizon=10.0).round(4))
  0.102
  """
  error = jnp.clip(widen(jnp.asarray(kl_value)) / target - 1, -0.2, 0.2)
  return jax.lax.stop_gradient(widen(jnp.asarray(coefficient)) * (1 + error * num_steps / horizon))
