"""Training times of a diffusion model, and the variance of a target that conditions on a noisy point."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Int

from rl_jax.kernels._checks import known_option
from rl_jax.kernels.reductions import widen


def training_indices(
  uniforms: Float[Array, " K"], *, num_steps: int, fraction: float = 0.9, kind: str = "discrete_wo_init"
) -> Int[Array, " K"]:
  """Stratified indices into a sampler's steps: floor(b_k) + floor(U_k (floor(b_{k+1}) - floor(b_k))).

  arXiv 2509.25050, code. b are K + 1 evenly spaced bounds from 1 ("discrete_wo_init") or 0 ("discrete", with t = 1) to
  floor(num_steps fraction); a time is the scheduler's sigma at an index. U is from [0, 1).

  >>> print(training_indices(jnp.array([0.0, 0.5, 0.9]), num_steps=10))
  [1 4 8]
  """
  known_option("training_indices", "kind", kind, ("discrete_wo_init", "discrete"))
  start, stop = int(kind == "discrete_wo_init"), int(num_steps * fraction)
  if stop < start:
    raise ValueError(f"training_indices: {num_steps} steps times {fraction} are too few for kind {kind!r}")
  bounds = np.floor(np.linspace(start, stop, uniforms.shape[0] + 1))
  low, high = (jnp.asarray(x, jnp.int32) for x in (bounds[:-1], bounds[1:]))
  return low + jnp.floor(widen(uniforms) * (high - low)).astype(jnp.int32)


def training_times(
  uniforms: Float[Array, " K"], *, kind: str = "logit_normal", shift: float = 3.0
) -> Float[Array, " K"]:
  """Stratified times, shifted to t <- shift t / (1 + (shift - 1) t), from (k + U_k) / K in place of uniform numbers.

  arXiv 2509.25050, code. `kind`: "logit_normal", sigmoid of a standard normal, finally clipped to at least 0.01;
  "uniform", between 0.2 and 1.

  >>> print(training_times(jnp.array([0.5])))
  [0.75]
  """
  known_option("training_times", "kind", kind, ("logit_normal", "uniform"))
  count = uniforms.shape[0]
  strata = (jnp.arange(count) + widen(uniforms)) / count
  t = jax.nn.sigmoid(norm.ppf(strata)) if kind == "logit_normal" else 0.2 + 0.8 * strata
  t = shift * t / (1 + (shift - 1) * t)
  return jnp.maximum(t, 0.01) if kind == "logit_normal" else t


def score_variance_gap(s: Float[Array, "*N"], t: Float[Array, "*N"]) -> Float[Array, "*N"]:
  """kappa(s, t) = a^2 s^2 / (t^2 (t^2 - a^2 s^2)), a = (1 - t) / (1 - s), for 0 <= s < t <= 1.

  arXiv 2509.25050, theorem 2: Cov(grad log p(x_t | x_s) | x_t) = Cov(grad log p(x_t | x_0) | x_t) + kappa I. kappa is
  the variance that a reverse step's likelihood, which matches the score given the noisy x_s, adds to the target. It is
  0 at s = 0 and infinite as s approaches t. The closed form is our derivation.

  >>> print(score_variance_gap(jnp.array([0.0, 0.25]), jnp.array([0.5, 0.5])).round(4))
  [0.  0.5]
  """
  s, t = widen(s), widen(t)
  kept = jnp.square((1 - t) / (1 - s) * s)
  return kept / (jnp.square(t) * (jnp.square(t) - kept))
