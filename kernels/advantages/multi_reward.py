"""Several rewards for each response: added and then normalised (RC), normalised and then added (AC), or DVAO between.

Rewards are [B, K], `mask` [B] True on scored rows. Groups of one, constant groups and unscored rows give 0. Nothing
carries a gradient. `weights` [K] are at least 0 and add up to 1; None: 1 / K each. ddof and eps are not in the paper.
GDPO, which normalises AC over the batch, is `advantages.group.gdpo`.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import gdpo, grpo
from rl_jax.kernels.reductions import group_deviations, group_std, standardize, widen, zero_masked


class VarianceAdaptive(NamedTuple):
  """0 in unscored rows."""

  advantages: Float[Array, " B"]
  weights: Float[Array, "B K"]
  """Weights of the group's objectives; they sum to 1, up to eps, or are all 0."""
  std: Float[Array, "B K"]
  """Standard deviation of each reward in the group."""


def _prepared(function, rewards, group_ids, mask, weights):
  if rewards.ndim != 2:
    raise ValueError(f"{function}: expected rewards [B K], got {rewards.shape}")
  same_shape(function, "B", rows=rewards[:, 0], group_ids=group_ids, mask=mask)
  rewards = zero_masked(rewards, mask[:, None])
  count = rewards.shape[1]
  if weights is None:
    return rewards, jnp.full(count, 1 / count, rewards.dtype)
  if weights.shape != (count,):
    raise ValueError(f"{function}: expected weights [{count}], got {weights.shape}")
  return rewards, jax.lax.stop_gradient(widen(weights).astype(rewards.dtype))


def reward_combination(
  rewards: Float[Array, "B K"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  weights: Float[Array, " K"] | None = None,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i = (R_i - mean_g R) / (std_g R + eps), R_i = sum_k w_k r_ik: GRPO of the weighted sum.

  RC, a baseline of DVAO, arXiv 2605.25604. Its mean square is 1 (ddof 0) however the rewards correlate.

  >>> rewards = jnp.array([[1.0, 1.0], [0.0, 1.0]])
  >>> print(reward_combination(rewards, jnp.array([7, 7]), jnp.ones(2, bool), ddof=0, eps=0.0))
  [ 1. -1.]
  """
  rewards, weights = _prepared("reward_combination", rewards, group_ids, mask, weights)
  return grpo((rewards * weights).sum(axis=1), group_ids, mask, ddof=ddof, eps=eps, singleton="zero")


def advantage_combination(
  rewards: Float[Array, "B K"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  weights: Float[Array, " K"] | None = None,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i = sum_k w_k A_ik, A_ik = (r_ik - mean_g r_k) / (std_g r_k + eps): GDPO before its batch normalisation.

  AC, a baseline of DVAO, arXiv 2605.25604. An objective without spread keeps its weight, and so shrinks A.

  >>> rewards = jnp.array([[1.0, 1.0], [0.0, 1.0]])
  >>> print(advantage_combination(rewards, jnp.array([7, 7]), jnp.ones(2, bool), ddof=0, eps=0.0))
  [ 0.5 -0.5]
  """
  rewards, weights = _prepared("advantage_combination", rewards, group_ids, mask, weights)
  return gdpo(rewards, group_ids, mask, weights=weights, normalization="none", ddof=ddof, eps=eps)


def dvao(
  rewards: Float[Array, "B K"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  weights: Float[Array, " K"] | None = None,
  form: str = "two_step",
  ddof: int = 1,
  eps: float = 1e-6,
) -> VarianceAdaptive:
  """A_i = sum_k v_k A_ik, v_k = w_k std_k / (sum_l w_l std_l + eps): objectives weigh by their spread in the group.

  DVAO, arXiv 2605.25604; the equation is known at second hand. A_ik as in `advantage_combination`. `form` "closed" is
  sum_k w_k (r_ik - mean_k) / (sum_l w_l std_l + eps), the same but for eps: RC with the sum of the stds for the std of
  the sum, so never larger than RC. An objective without spread leaves its weight to the others. Rewards must be on
  one scale: c r_k weighs c times as much. Without any spread the weights are 0.

  >>> rewards = jnp.array([[3.0, 1.0], [0.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
  >>> result = dvao(rewards, jnp.array([7, 7, 7, 7]), jnp.ones(4, bool), ddof=0, eps=0.0)
  >>> print(result.weights[0], result.advantages)
  [0.75 0.25] [ 1.  -1.   0.5 -0.5]
  """
  known_option("dvao", "form", form, ("two_step", "closed"))
  rewards, weights = _prepared("dvao", rewards, group_ids, mask, weights)

  def each(statistic, **options):
    columns = jax.vmap(partial(statistic, **options), in_axes=(1, None, None), out_axes=1)
    return zero_masked(columns(rewards, group_ids, mask), mask[:, None])

  std = each(group_std, ddof=ddof)
  spread = (weights * std).sum(axis=1, keepdims=True)
  # Without spread the numerators are 0 too.
  total = jnp.where(spread > 0, spread + eps, 1)
  adapted = weights * std / total
  if form == "closed":
    advantages = (weights * each(group_deviations) / total).sum(axis=1)
  else:
    advantages = (adapted * each(standardize, ddof=ddof, eps=eps)).sum(axis=1)
  return jax.lax.stop_gradient(VarianceAdaptive(advantages, adapted, std))


def scalarized_advantages(
  returns: Float[Array, "B K"],
  values: Float[Array, "B K"],
  mask: Bool[Array, " B"],
  *,
  weights: Float[Array, " K"] | None = None,
  variances: Float[Array, " K"] | None = None,
  eps: float = 1e-5,
) -> Float[Array, " B"]:
  """A = sum_k w_k (R_k - V_k) sqrt(var_k + 1e-8), less its mean over the batch and divided by its std (ddof 1) + eps.

  C-MORL, arXiv 2410.02236. A row is a sample: a response, or a step. R is a critic's return of each objective (`gae`
  of each), in units in which the objective's variance was divided out; `variances` bring the objectives back to their
  own; None: they are in those. Weight 1 on one objective alone maximises that one.

  >>> returns = jnp.array([[1.0, 9.0], [3.0, 9.0]])
  >>> print(scalarized_advantages(returns, 0 * returns, jnp.ones(2, bool), weights=jnp.array([1.0, 0.0])).round(3))
  [-0.707  0.707]
  """
  same_shape("scalarized_advantages", "B K", returns=returns, values=values)
  groups = jnp.zeros(mask.shape, jnp.int32)
  returns, weights = _prepared("scalarized_advantages", returns, groups, mask, weights)
  if variances is not None:
    weights = weights * jnp.sqrt(widen(variances) + 1e-8).astype(weights.dtype)
  totals = ((returns - zero_masked(values, mask[:, None])) * weights).sum(axis=1)
  return jax.lax.stop_gradient(standardize(totals, None, mask, ddof=1, eps=eps))
