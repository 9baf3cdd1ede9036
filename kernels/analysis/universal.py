"""Universal combination: sources weighted by what each mixture of them has grown, without a model of payoffs.

Inspired by "Ensembling Portfolio Strategies", arXiv 2406.03652, of which the abstract alone was at hand: what is here
is Cover's universal mixture over constant combinations of the components, the standard method with the property that
the paper claims. Payoffs z [T A] are those of A components (strategies, data sources, estimators) in T periods, such as
1 + gain, and above 0. Any order of the components gives the same, and a factor for all of a period's payoffs is a
factor of the wealth. Nothing carries a gradient.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rl_jax.kernels._checks import matching_axes, same_shape
from rl_jax.kernels.pareto.quality import simplex_grid
from rl_jax.kernels.reductions import group_std, widen

LEADERS = 1e-6
"""Distance in log wealth within which combinations count as equal: floating ties would choose at random."""


class UniversalCombination(NamedTuple):
  """Mixture of each period, known before its payoffs are, and what it grew."""

  combinations: Float[Array, "T A"]
  payoffs: Float[Array, " T"]
  """Wealth after the period over wealth before it."""
  best_constant: Float[Array, ""]
  """Log wealth of the best combination of the grid, kept through all periods."""


class WealthStatistics(NamedTuple):
  """Growth of a strategy's wealth, which begins at 1."""

  growth_rate: Float[Array, ""]
  """Log wealth in the end, per period."""
  sharpe: Float[Array, ""]
  """Mean over standard deviation (ddof 1) of the gains per period, not annualised."""


def component_payoffs(portfolios: Float[Array, "T A N"], price_relatives: Float[Array, "T N"]) -> Float[Array, "T A"]:
  """z_ta = sum_i b_tai x_ti: payoffs of portfolios b from the ratios x of successive prices.

  arXiv 2406.03652.

  >>> print(component_payoffs(jnp.array([[[0.5, 0.5], [1.0, 0.0]]]), jnp.array([[2.0, 1.0]])))
  [[1.5 2. ]]
  """
  matching_axes("component_payoffs", portfolios=(portfolios, "T A N"), price_relatives=(price_relatives, "T N"))
  return jnp.einsum("tan,tn->ta", widen(portfolios), widen(price_relatives))


def universal_combination(payoffs: Float[Array, "T A"], *, parts: int = 10, eta: float = 1.0) -> UniversalCombination:
  """lambda_t = sum_g g S_{t-1}(g)^eta / sum_g S_{t-1}(g)^eta, S(g) the wealth of g on a grid of step 1 / parts.

  Not in arXiv 2406.03652, see above. With eta 1 the wealth is exactly the mean of S(g) over the grid, so its logarithm
  is at most the grid's log size below that of the best g, and each component is a g. eta > 1 goes to good combinations
  faster and has no such bound; math.inf follows the leader, the mean of all that are within 1e-6 of the best. The first
  period has all components alike. Of more than 10 strategies combine groups first: `payoffs` of the result of each
  group are again payoffs of components.

  >>> alternating = jnp.array([[2.0, 0.5], [0.5, 2.0]] * 6)
  >>> found = universal_combination(alternating)
  >>> print(found.combinations[0], found.payoffs.prod().round(2), alternating.prod(axis=0))
  [0.5 0.5] 7.48 [1. 1.]
  """
  same_shape("universal_combination", "T A", payoffs=payoffs)
  payoffs = jax.lax.stop_gradient(widen(payoffs))
  grid = simplex_grid(payoffs.shape[1], parts).astype(payoffs.dtype)
  growth = jnp.log(payoffs @ grid.T)
  after = jnp.cumsum(growth, axis=0)
  before = jnp.concatenate([jnp.zeros_like(after[:1]), after[:-1]])
  if math.isinf(eta):
    leads = (before >= before.max(axis=1, keepdims=True) - LEADERS).astype(payoffs.dtype)
    weights = leads / leads.sum(axis=1, keepdims=True)
  else:
    weights = jax.nn.softmax(eta * before, axis=1)
  combinations = weights @ grid
  return UniversalCombination(combinations, (combinations * payoffs).sum(axis=1), growth.sum(axis=0).max())


def buy_and_hold(payoffs: Float[Array, "T A"]) -> Float[Array, " T"]:
  """log mean_a prod_{s <= t} z_sa: log wealth of equal shares at the start, never moved. At most that of the best.

  A baseline of the combination inspired by arXiv 2406.03652.

  >>> print(jnp.exp(buy_and_hold(jnp.array([[2.0, 1.0], [2.0, 1.0]]))))
  [1.5 2.5]
  """
  same_shape("buy_and_hold", "T A", payoffs=payoffs)
  wealth = jnp.cumsum(jnp.log(widen(payoffs)), axis=0)
  return jax.lax.stop_gradient(jax.nn.logsumexp(wealth, axis=1) - jnp.log(payoffs.shape[1]))


def wealth_statistics(payoffs: Float[Array, " T"]) -> WealthStatistics:
  """1 / T sum_t log z_t, and mean(z - 1) / std(z - 1).

  arXiv 2406.03652. The second is inf if payoffs are equal up to rounding (a single one is).

  >>> print(*wealth_statistics(jnp.array([1.0, 1.5])), wealth_statistics(jnp.array([2.0, 2.0])).sharpe)
  0.20273255 0.70710677 inf
  """
  same_shape("wealth_statistics", "T", payoffs=payoffs)
  payoffs = widen(payoffs)
  std = group_std(payoffs, None, jnp.ones(payoffs.shape))
  varies = jnp.ptp(payoffs) > 16 * jnp.finfo(payoffs.dtype).eps * jnp.abs(payoffs).max()
  sharpe = jnp.where(varies, (payoffs - 1).mean() / jnp.where(varies, std, 1), jnp.inf)
  return jax.lax.stop_gradient(WealthStatistics(jnp.log(payoffs).mean(), sharpe))


def prefer(
  log_wealth: Float[Array, "*N"], other_log_wealth: Float[Array, "*N"], *, tolerance: float = 0.0
) -> Int[Array, "*N"]:
  """Preference of one strategy over another by what each has grown: 1, -1, or 0 within the tolerance.

  arXiv 2406.03652 prefers by the limit over time, whatever the distribution of payoffs; this is its reading for a time
  that is over.

  >>> print(prefer(jnp.array([1.0, 0.0, 0.5]), jnp.array([0.0, 1.0, 0.6]), tolerance=0.2))
  [ 1 -1  0]
  """
  same_shape("prefer", "N", log_wealth=log_wealth.ravel(), other_log_wealth=other_log_wealth.ravel())
  ahead = widen(log_wealth) - widen(other_log_wealth)
  return jnp.where(jnp.abs(ahead) > tolerance, jnp.sign(ahead), 0).astype(jnp.int32)
