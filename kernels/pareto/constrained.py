"""Updates that maximise one objective while every other one keeps a share of what it had.

C-MORL, arXiv 2410.02236: maximise G_l subject to G_i >= beta G_i(start) for all i != l, by a log barrier (interior
point policy optimisation). The policy's own term is `advantages.scalarized_advantages` with weight 1 on l, in
`losses.policy_gradient`; each head of the critic has `losses.value_loss`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Num

from rl_jax.kernels._checks import known_option, matching_axes
from rl_jax.kernels.reductions import masked_mean, widen, zero_masked


class Barrier(NamedTuple):
  """The term to add to the objective, -inf without gradient where a constraint is not strictly met."""

  value: Float[Array, ""]
  feasible: Bool[Array, ""]


def _others(function, objective, count):
  if not 0 <= objective < count:
    raise ValueError(f"{function}: expected one of the {count} objectives, got {objective}")
  return jnp.arange(count) != objective


def log_barrier(
  returns: Float[Array, " K"],
  start: Float[Array, " K"],
  *,
  objective: int,
  beta: float = 0.9,
  t: float = 20.0,
  threshold: str = "share",
) -> Barrier:
  """1 / t sum_{i != l} log(G_i - beta G_i(start)): the paper maximises G_l plus this.

  C-MORL, arXiv 2410.02236; t larger is a weaker barrier. `start` are the returns of the policy that the run began with,
  without gradient. With `threshold` "share" a negative return makes the start itself infeasible; "loss", G_i(start) -
  (1 - beta) |G_i(start)|, is the same for positive returns and is not in the paper.

  >>> barrier = log_barrier(jnp.array([3.0, 2.0]), jnp.array([2.0, 1.0]), objective=0, beta=0.0, t=1.0)
  >>> print(barrier.value.round(4), barrier.feasible)
  0.6931 True
  """
  known_option("log_barrier", "threshold", threshold, ("share", "loss"))
  matching_axes("log_barrier", returns=(returns, "K"), start=(start, "K"))
  others = _others("log_barrier", objective, returns.shape[0])
  returns, start = widen(returns), jax.lax.stop_gradient(widen(start))
  lowest = beta * start if threshold == "share" else start - (1 - beta) * jnp.abs(start)
  margins = jnp.where(others, returns - lowest, 1)
  feasible = (margins > 0).all()
  return Barrier(jnp.where(feasible, jnp.log(jnp.where(feasible, margins, 1)).sum() / t, -jnp.inf), feasible)


def importance_weighted_returns(
  returns: Float[Array, " K"],
  ratios: Float[Array, " B"],
  advantages: Float[Array, "B K"],
  mask: Num[Array, " B"],
  *,
  clip: float = 0.2,
) -> Float[Array, " K"]:
  """G_i(policy) = G_i(sampler) + mean_b clip(r_b, 1 - clip, 1 + clip) A_bi: what `log_barrier` takes in an update.

  Not in C-MORL, arXiv 2410.02236, whose paper does not say how its constraint is estimated. Gradient through the ratios
  alone.

  >>> args = jnp.array([1.0, 0.0]), jnp.array([1.0, 1.1]), jnp.array([[1.0, 0.0], [-1.0, 2.0]]), jnp.ones(2)
  >>> print(importance_weighted_returns(*args).round(2))
  [0.95 1.1 ]
  """
  arrays = dict(returns=(returns, "K"), ratios=(ratios, "B"), advantages=(advantages, "B K"), mask=(mask, "B"))
  matching_axes("importance_weighted_returns", **arrays)
  returns, advantages = jax.lax.stop_gradient((widen(returns), zero_masked(advantages, mask[:, None])))
  weighted = jnp.clip(zero_masked(ratios, mask), 1 - clip, 1 + clip)[:, None] * advantages
  return returns + masked_mean(weighted, jnp.broadcast_to(mask[:, None] != 0, weighted.shape), axis=0).value


def ratio_barrier(
  ratios: Float[Array, " B"],
  returns: Float[Array, "B K"],
  mask: Num[Array, " B"],
  *,
  objective: int,
  beta: float = 0.9,
  t: float = 20.0,
  clip: float = 0.2,
  floor: float = 1e-3,
) -> Float[Array, " B"]:
  """-1 / t mean_{i != l} log max(clip(r_b) R_i - beta R_i, floor), R_i the batch's mean return, averaged over samples.

  C-MORL's code, arXiv 2410.02236, as it is meant: it leaves out a sample in the place of objective l. Its bound is a
  share of the returns of now, not of the start, and its expected gradient is 0 to first order. At the floor there is
  none, so nothing pushes a violated constraint back. Gradient through the ratios alone; 0 in masked samples.

  >>> print(ratio_barrier(jnp.ones(2), jnp.ones((2, 2)), jnp.ones(2), objective=0, beta=0.5, t=1.0).round(4))
  [0.6931 0.6931]
  """
  matching_axes("ratio_barrier", ratios=(ratios, "B"), returns=(returns, "B K"), mask=(mask, "B"))
  others = _others("ratio_barrier", objective, returns.shape[1])
  weights = jnp.broadcast_to(mask[:, None] != 0, returns.shape)
  means = jax.lax.stop_gradient(masked_mean(returns, weights, axis=0).value)
  margins = (jnp.clip(zero_masked(ratios, mask), 1 - clip, 1 + clip)[:, None] - beta) * means
  logs = jnp.log(jnp.where(margins > floor, margins, floor))
  return zero_masked(-masked_mean(logs, jnp.broadcast_to(others, logs.shape), axis=1).value / t, mask)
