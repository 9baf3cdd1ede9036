"""Scaling laws that turn a score into the size of a reference model: capability density, and its growth.

Densing Law, arXiv 2412.04315. Two laws are fitted to a ladder of reference models: size and tokens to loss, and loss to
score. Read backwards they say how large a reference model with a given score would be; its size over the actual one is
the density. The loss is the mean over answer tokens, `losses.negative_log_likelihood` with the mask of the answer. Fit
both by least squares, the first of log L, on small models (which solver is not in the paper):
`jax.scipy.optimize.minimize` takes these functions. Nothing here stops gradients.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, widen, zero_masked

Scalar = float | Float[Array, ""]


class LossLaw(NamedTuple):
  """L = a N^-alpha + b D^-beta, of N parameters and D tokens; no irreducible term."""

  a: Scalar
  alpha: Scalar
  b: Scalar
  beta: Scalar


class ScoreLaw(NamedTuple):
  """S = c / (1 + exp(-gamma (L - l))) + d: gamma < 0, d is the score of chance, c + d the ceiling."""

  c: Scalar
  gamma: Scalar
  midpoint: Scalar
  """The paper's l."""
  d: Scalar


class CapabilityDensity(NamedTuple):
  """Models in terms of the reference family."""

  losses: Float[Array, "*N"]
  """Loss at which the family has the score: nan for scores that the law cannot have, up to d and from c + d on."""
  effective_params: Float[Array, "*N"]
  """Size at which the family has the loss: inf where the tokens do not suffice for any."""
  densities: Float[Array, "*N"]
  """Effective over actual parameters."""


class DensityTrend(NamedTuple):
  """ln density = slope t + intercept, over the records."""

  slope: Float[Array, ""]
  intercept: Float[Array, ""]
  r2: Float[Array, ""]
  records: Bool[Array, " N"]

  @property
  def doubling_time(self) -> Float[Array, ""]:
    """ln 2 / slope, in the unit of the times."""
    return jnp.log(2.0) / self.slope


def scaling_loss(
  num_params: Num[Array, "*N"], num_tokens: Num[Array, "*N"] | float, law: LossLaw
) -> Float[Array, "*N"]:
  """L = a N^-alpha + b D^-beta.

  Densing Law, arXiv 2412.04315, equation 2. For N = inf: what the tokens alone leave.

  >>> print(scaling_loss(jnp.array([16.0, jnp.inf]), 4.0, LossLaw(a=3.0, alpha=0.5, b=1.0, beta=0.5)))
  [1.25 0.5 ]
  """
  return law.a * widen(num_params) ** -law.alpha + law.b * widen(jnp.asarray(num_tokens)) ** -law.beta


def score_from_loss(losses: Float[Array, "*N"], law: ScoreLaw) -> Float[Array, "*N"]:
  """S = c / (1 + exp(-gamma (L - l))) + d.

  Densing Law, arXiv 2412.04315, equation 3.

  >>> print(score_from_loss(jnp.array([0.5, 0.0]), ScoreLaw(c=0.5, gamma=-100.0, midpoint=0.5, d=0.25)))
  [0.5  0.75]
  """
  return law.c / (1 + jnp.exp(-law.gamma * (widen(losses) - law.midpoint))) + law.d


def capability_density(
  scores: Float[Array, "*N"],
  num_params: Num[Array, "*N"],
  loss_law: LossLaw,
  score_law: ScoreLaw,
  *,
  num_tokens: float = 1e12,
) -> CapabilityDensity:
  """L = l - ln(c / (S - d) - 1) / gamma, N_hat = ((L - b D^-beta) / a)^(-1 / alpha), density N_hat / N.

  Densing Law, arXiv 2412.04315, equation 4: the inverse of both laws, D the tokens that the references would have.

  >>> laws = LossLaw(a=1.0, alpha=0.5, b=0.0, beta=1.0), ScoreLaw(c=1.0, gamma=-1.0, midpoint=0.5, d=0.0)
  >>> print(capability_density(jnp.array([0.5, 1.0]), jnp.array([8.0, 8.0]), *laws).densities)
  [0.5 nan]
  """
  same_shape("capability_density", "N", scores=scores.ravel(), num_params=num_params.ravel())
  scores, num_params = widen(scores), widen(num_params)
  above = scores - score_law.d
  possible = (above > 0) & (above < score_law.c)
  ratio = score_law.c / jnp.where(possible, above, 0.5 * score_law.c) - 1
  losses = jnp.where(possible, score_law.midpoint - jnp.log(ratio) / score_law.gamma, jnp.nan)
  left = losses - scaling_loss(jnp.full_like(losses, jnp.inf), num_tokens, loss_law)
  size = (jnp.where(left > 0, left, 1) / loss_law.a) ** (-1 / loss_law.alpha)
  size = jnp.where(left > 0, size, jnp.where(possible, jnp.inf, jnp.nan))
  return CapabilityDensity(losses, size, size / num_params)


def density_trend(times: Num[Array, " N"], densities: Float[Array, " N"], mask: Num[Array, " N"]) -> DensityTrend:
  """Least squares of ln density on time, over the records: models denser than all before them.

  Densing Law, arXiv 2412.04315, equation 5; times in days since the first model. Of one day's models the densest is a
  record, the first of equal ones (not in the paper). With fewer than two records at different times slope, intercept
  and r2 are nan.

  >>> trend = density_trend(jnp.array([0, 100, 150, 200]), jnp.array([1.0, 2.0, 1.5, 4.0]), jnp.ones(4))
  >>> print(trend.records, trend.doubling_time.round(1))
  [ True  True False  True] 100.0
  """
  same_shape("density_trend", "N", times=times, densities=densities, mask=mask)
  exists, times = mask != 0, zero_masked(times, mask)
  logs = jnp.log(jnp.where(exists, widen(densities), 1))
  order = jnp.arange(exists.size)
  before = (times < times[:, None]) & (logs >= logs[:, None])
  same_day = times == times[:, None]
  beaten = same_day & ((logs > logs[:, None]) | ((logs == logs[:, None]) & (order < order[:, None])))
  records = exists & ~((before | beaten) & exists).any(axis=1)
  count = records.sum()
  mean = lambda x: Mean(zero_masked(x, records).sum(), count).value
  deviations, residues = (zero_masked(x - mean(x), records) for x in (times, logs))
  spread = jnp.square(deviations).sum()
  known = spread > 0
  slope = jnp.where(known, (deviations * residues).sum() / jnp.where(known, spread, 1), jnp.nan)
  total = jnp.square(residues).sum()
  unexplained = jnp.square(residues - slope * deviations).sum()
  r2 = jnp.where(total > 0, 1 - unexplained / jnp.where(total > 0, total, 1), 1)
  return DensityTrend(slope, mean(logs) - slope * mean(times), jnp.where(known, r2, jnp.nan), records)


def combined_doubling_time(first: Scalar, second: Scalar) -> Float[Array, ""]:
  """Doubling time 1 / (1 / T_1 + 1 / T_2) of a product whose factors double in these times, such as density and chips.

  Densing Law, arXiv 2412.04315.

  >>> print(combined_doubling_time(200.0, 200.0))
  100.0
  """
  return 1 / (1 / widen(jnp.asarray(first)) + 1 / widen(jnp.asarray(second)))
