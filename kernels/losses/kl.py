"""Divergence from a reference policy, estimated at sampled tokens: what it is worth and what its gradient is."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Num

from kernels._checks import known_option, same_shape
from kernels.reductions import widen, zero_masked

ESTIMATORS = {
  "k1": lambda d: d,
  "k2": lambda d: jnp.square(d) / 2,
  # expm1 keeps digits near d = 0, where exp(-d) - 1 + d cancels.
  "k3": lambda d: jnp.expm1(-d) + d,
}


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
  k2 has the gradient of KL(policy || reference), k3 that of KL(reference || policy). The clamps, off by default,
  bound d and the value (verl's k3: 20 and 10); a straight-through gradient is not clamped. 0 in masked slots.

  >>> print(kl(jnp.log(jnp.array([[0.5, 0.5]])), jnp.log(jnp.array([[0.5, 0.25]])), jnp.ones((1, 2))).round(3))
  [[0.    0.193]]
  """
  known_option("kl", "value", value, ESTIMATORS)
  same_shape("kl", "B T", logprobs=logprobs, ref_logprobs=ref_logprobs, mask=mask)
  d = zero_masked(logprobs, mask) - jax.lax.stop_gradient(zero_masked(ref_logprobs, mask))
  clamped = d if log_ratio_clamp is None else jnp.clip(d, -log_ratio_clamp, log_ratio_clamp)
  estimate = ESTIMATORS[value](clamped)
  if value_clamp is not None:
    estimate = jnp.clip(estimate, -value_clamp, value_clamp)
  if gradient is not None:
    known_option("kl", "gradient", gradient, ESTIMATORS)
    differentiated = ESTIMATORS[gradient](d)
    estimate = jax.lax.stop_gradient(estimate - differentiated) + differentiated
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
