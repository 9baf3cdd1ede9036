"""Agreement of an estimate with the truth, entry by entry: unexplained share, correlations, signs.

Arrays may have any shape; all unmasked entries are pooled. Nothing here carries a gradient.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import Mean, group_deviations, masked_mean, zero_masked


def unexplained(x: Float[Array, "..."], y: Float[Array, "..."], mask: Num[Array, "..."]) -> Mean:
  """Share of the squares of y that the best multiple of x leaves: 1 - cos(x, y)^2.

  0 for x = c y, 1 where x says nothing of y, an x that is 0 everywhere among them; never above 1. The sign of c does
  not count.

  >>> x, y = jnp.array([1.0, -1.0, jnp.nan]), jnp.array([3.0, -3.0, 1.0])
  >>> print(unexplained(x, y, jnp.array([1, 1, 0])).value)
  0.0
  """

  def unit(x):
    # The largest entry first: squares of small ones would be lost.
    largest = jnp.max(jnp.abs(zero_masked(x, mask)), initial=0.0)
    return zero_masked(x, mask) / jnp.where(largest > 0, largest, 1)

  x, y = unit(x), unit(y)
  squares = jnp.sum(jnp.square(x))
  left = y - x * jnp.sum(x * y) / jnp.where(squares > 0, squares, 1)
  return jax.lax.stop_gradient(Mean(jnp.sum(jnp.square(left)), jnp.sum(jnp.square(y))))


def average_ranks(x: Float[Array, "..."], mask: Num[Array, "..."]) -> Float[Array, "..."]:
  """Rank of each entry among the unmasked ones, from 1 for the lowest; equal entries share the mean of their ranks.

  >>> print(average_ranks(jnp.array([0.5, 0.1, 0.5, 9.0]), jnp.array([1, 1, 1, 0])))
  [2.5 1.  2.5 0. ]
  """
  flat = jnp.where(mask != 0, zero_masked(x, mask), jnp.inf).ravel()
  ordered = jnp.sort(flat)
  below, up_to = (jnp.searchsorted(ordered, flat, side=side) for side in ("left", "right"))
  return jax.lax.stop_gradient(zero_masked((0.5 * (below + up_to + 1)).reshape(x.shape), mask))


def correlation(x: Float[Array, "..."], y: Float[Array, "..."], mask: Num[Array, "..."]) -> Float[Array, ""]:
  """Pearson's; 0 if x or y is constant.

  >>> print(correlation(jnp.array([1.0, 2.0, 3.0, 0.0]), jnp.array([1.0, 3.0, 5.0, 9.0]), jnp.array([1, 1, 1, 0])))
  1.0
  """
  left, right = (group_deviations(v, None, mask) for v in (x, y))
  spread = jnp.sqrt(jnp.sum(jnp.square(left)) * jnp.sum(jnp.square(right)))
  return jax.lax.stop_gradient(jnp.where(spread > 0, jnp.sum(left * right) / jnp.where(spread > 0, spread, 1), 0))


def rank_correlation(x: Float[Array, "..."], y: Float[Array, "..."], mask: Num[Array, "..."]) -> Float[Array, ""]:
  """Spearman's: the correlation of the ranks, with ties as in `average_ranks`; 0 if x or y is constant.

  >>> print(rank_correlation(jnp.array([1.0, 2.0, 9.0, 0.0]), jnp.array([0.1, 0.3, 0.2, 9.0]), jnp.array([1, 1, 1, 0])))
  0.5
  """
  return correlation(average_ranks(x, mask), average_ranks(y, mask), mask)


def sign_agreement(x: Float[Array, "..."], y: Float[Array, "..."], mask: Num[Array, "..."]) -> Mean:
  """Share of entries where x and y have the same sign; a 0 agrees with a 0 alone.

  >>> print(sign_agreement(jnp.array([0.5, -1.0]), jnp.array([2.0, 1.0]), jnp.ones(2)).value)
  0.5
  """
  agree = jnp.sign(zero_masked(x, mask)) == jnp.sign(zero_masked(y, mask))
  return masked_mean(agree, mask)


def order_reversals(x: Float[Array, " N"], y: Float[Array, " N"], mask: Num[Array, " N"]) -> Bool[Array, "N N"]:
  """True at i < j where x and y order i and j oppositely; a tie in either is no reversal.

  daVinci-LLM, arXiv 2603.27164: checkpoints that two protocols of evaluation rank in different orders.

  >>> print(order_reversals(jnp.array([1.0, 2.0, 3.0]), jnp.array([1.0, 3.0, 2.0]), jnp.ones(3))[1])
  [False False  True]
  """
  same_shape("order_reversals", "N", x=x, y=y, mask=mask)
  exists, (x, y) = mask != 0, (zero_masked(v, mask) for v in (x, y))
  higher, lower = ((x[:, None] > x) & (y[:, None] < y)), ((x[:, None] < x) & (y[:, None] > y))
  return jnp.triu((higher | lower) & exists[:, None] & exists, k=1)
