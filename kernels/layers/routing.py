"""Expert routing seen as a congestion game: a token likes good experts and dislikes crowded ones.

arXiv 2604.04230: one number, gamma, measures how strongly a trained router behaves as if crowding had a price; over a
run it surges, plateaus and relaxes. Only the abstract could be read, so every formula here is inferred from it unless
stated otherwise. There are E experts; loads and qualities are statistics of a batch and carry no gradient.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import entr
from jaxtyping import Array, Float, Int, Num

from rl_jax.kernels._checks import known_option, matching_axes, same_shape
from rl_jax.kernels.reductions import Mean, masked_mean, widen, zero_masked

SURGE, STABILISATION, RELAXATION = range(3)
"""Phases of a run."""


class LoadBalance(NamedTuple):
  """Measures of how evenly tokens are routed."""

  max_over_mean: Float[Array, "*N"]
  """E max m: 1 if balanced, E if collapsed. Probably the paper's B_0."""
  variation: Float[Array, "*N"]
  """Standard deviation over mean, 0 if balanced."""
  entropy: Float[Array, "*N"]
  """Share of log E: 1 if balanced, 0 if collapsed."""


class TemperatureFit(NamedTuple):
  """The temperature whose softmax of qualities is closest to the loads, and the remaining absolute difference."""

  temperature: Float[Array, ""]
  distance: Float[Array, ""]


class Interval(NamedTuple):
  """Bounds of a confidence interval."""

  low: Float[Array, ""]
  high: Float[Array, ""]


def expert_loads(expert_ids: Int[Array, "B K"], mask: Num[Array, " B"], *, num_experts: int) -> Float[Array, " E"]:
  """m_e: share of the (token, slot) pairs of unmasked tokens that went to expert e; uniform without a token.

  arXiv 2604.04230. Ids outside 0 .. E - 1 count for no expert.

  >>> print(expert_loads(jnp.array([[0, 1], [0, 2], [1, 1]]), jnp.array([1, 1, 0]), num_experts=3))
  [0.5  0.25 0.25]
  """
  if expert_ids.ndim != 2 or mask.shape != expert_ids.shape[:1] or num_experts < 1:
    raise ValueError(
      "expert_loads: expected expert_ids [B K] and mask [B], and an expert, "
      f"got {expert_ids.shape}, {mask.shape} and {num_experts}"
    )
  hits = (expert_ids[..., None] == jnp.arange(num_experts)) & (mask != 0)[:, None, None]
  counts = widen(hits.sum(axis=(0, 1)))
  return jnp.where(counts.sum() > 0, Mean(counts, counts.sum()).value, 1 / num_experts)


def expert_quality(
  router_logits: Float[Array, "B E"],
  expert_ids: Int[Array, "B K"],
  mask: Num[Array, " B"],
  *,
  estimator: str = "log_probability",
) -> Float[Array, " E"]:
  """q_e: the router's preference for an expert, a mean over unmasked tokens, centred over the experts.

  arXiv 2604.04230, which has four estimators that agree (r >= 0.89); their forms could not be read. `estimator`:
  "log_probability", log softmax of the logits; "logit"; "probability_when_selected", the mean over the tokens that
  chose the expert, 0 if none did. With gradient-based utilities in place of the logits, "logit" is the fourth.

  >>> logits, ids = jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([[0], [0]])
  >>> print(expert_quality(logits, ids, jnp.ones(2), estimator="logit"))
  [ 0.5 -0.5]
  """
  known_option("expert_quality", "estimator", estimator, ("log_probability", "logit", "probability_when_selected"))
  arrays = dict(router_logits=(router_logits, "B E"), expert_ids=(expert_ids, "B K"), mask=(mask, "B"))
  matching_axes("expert_quality", **arrays)
  logits = zero_masked(router_logits, mask[:, None])
  weights = jnp.broadcast_to((mask != 0)[:, None], logits.shape)
  if estimator == "log_probability":
    scores = jax.nn.log_softmax(logits)
  elif estimator == "logit":
    scores = logits
  else:
    scores = jax.nn.softmax(logits)
    weights &= (expert_ids[..., None] == jnp.arange(logits.shape[1])).any(axis=1)
  quality = masked_mean(scores, weights, axis=0).value
  return jax.lax.stop_gradient(quality - quality.mean())


def load_balance(loads: Float[Array, "*N E"]) -> LoadBalance:
  """E max m, the coefficient of variation, and entropy / log E.

  arXiv 2604.04230. A single expert has entropy 1.

  >>> print(*load_balance(jnp.array([0.5, 0.5, 0.0, 0.0])))
  2.0 1.0 0.5
  """
  loads = widen(loads)
  experts = loads.shape[-1]
  entropy = entr(loads).sum(axis=-1) / jnp.log(max(experts, 2)) if experts > 1 else jnp.ones(loads.shape[:-1])
  return LoadBalance(experts * loads.max(axis=-1), experts * loads.std(axis=-1), entropy)


def congestion_equilibrium(
  quality: Float[Array, "J E"], shares: Float[Array, " J"], gamma: Float[Array, ""]
) -> Float[Array, " E"]:
  """The loads m = sum_j pi_j softmax(q_j - gamma m): J types of tokens with shares pi, one price for crowding.

  arXiv 2604.04230. With one type, m is unique for gamma >= 0, as q m - gamma m^2 / 2 + entropy is strictly concave, and
  to first order it is softmax(q / T), T = 1 + gamma / E (the abstract states the reduction to a softmax with a
  temperature). Found by damped steps of 1 / (1 + gamma / 2) until both sides come no closer. gamma 0 gives the mean
  softmax. No gradient.

  >>> print(congestion_equilibrium(jnp.zeros((1, 4)), jnp.ones(1), jnp.array(5.0)))
  [0.25 0.25 0.25 0.25]
  """
  if quality.ndim != 2 or shares.shape != quality.shape[:1]:
    raise ValueError(
      f"congestion_equilibrium: expected quality [J E] and shares [J], got {quality.shape} and {shares.shape}"
    )
  quality, shares, gamma = jax.lax.stop_gradient([widen(jnp.asarray(x)) for x in (quality, shares, gamma)])
  step = 1 / (1 + jnp.maximum(gamma, 0) / 2)
  coarse = 64 * jnp.finfo(quality.dtype).eps

  def apart(loads):
    difference = shares @ jax.nn.softmax(quality - gamma * loads) - loads
    return difference, jnp.abs(difference).max()

  def body(state):
    loads, (difference, distance), _, count = state
    loads += step * difference
    return loads, apart(loads), distance, count + 1

  def unfinished(state):
    loads, (_, distance), before, count = state
    return ((distance > coarse * loads.max()) | (distance < before)) & (count < 20_000)

  uniform = jnp.full(quality.shape[1], 1 / quality.shape[1], quality.dtype)
  return jax.lax.while_loop(unfinished, body, (uniform, apart(uniform), jnp.inf, 0))[0]


def congestion_coefficient(quality: Float[Array, "*N E"], loads: Float[Array, "*N E"]) -> Float[Array, "*N"]:
  """gamma = cov(m, q - log m) / var(m): least squares of the equilibrium's log m_e = q_e - gamma m_e + const.

  arXiv 2604.04230. Negative if loads are more skewed than softmax(q): routing reinforces itself. In the paper gamma is
  the sum of an explicit and an implicit part; a Switch loss alpha E sum_e f_e P_e charges alpha E f_e per unit of P_e,
  so our reading of the explicit part is alpha E. log m is at least log 1e-12. Uniform loads give 0 if all qualities are
  equal, else infinity. No gradient.

  >>> loads = jnp.array([0.5, 0.25, 0.25])
  >>> print(congestion_coefficient(jnp.log(loads) + 8 * loads, loads).round(4))
  8.0
  """
  same_shape("congestion_coefficient", " ".join(["N"] * (quality.ndim - 1) + ["E"]), quality=quality, loads=loads)
  quality, loads = widen(quality), widen(loads)
  away = loads - loads.mean(axis=-1, keepdims=True)
  residual = quality - jnp.log(jnp.maximum(loads, 1e-12))
  varies = loads.max(axis=-1) > loads.min(axis=-1)
  variance = jnp.where(varies, jnp.square(away).sum(axis=-1), 1)
  apart = quality.max(axis=-1) > quality.min(axis=-1)
  slope = (away * residual).sum(axis=-1) / variance
  return jax.lax.stop_gradient(jnp.where(varies, slope, jnp.where(apart, jnp.inf, 0)))


def routing_temperature(quality: Float[Array, " E"], loads: Float[Array, " E"]) -> TemperatureFit:
  """T that minimises sum_e |softmax(q / T)_e - m_e|: the alternative to the congestion game as a model of the loads.

  arXiv 2604.04230 compares both models by this distance (0.199 and 0.200 on held-out tokens). Ternary search over T
  from 0.05 to 20, our bounds. No gradient.

  >>> quality = jnp.array([1.0, 0.0, -1.0])
  >>> print(routing_temperature(quality, jax.nn.softmax(quality / 2)).temperature.round(2))
  2.0
  """
  same_shape("routing_temperature", "E", quality=quality, loads=loads)
  quality, loads = jax.lax.stop_gradient((widen(quality), widen(loads)))
  distance = lambda temperature: jnp.abs(jax.nn.softmax(quality / temperature) - loads).sum()

  def narrow(_, bounds):
    low, high = bounds
    third = (high - low) / 3
    left = distance(low + third) < distance(high - third)
    return jnp.where(left, low, low + third), jnp.where(left, high - third, high)

  bounds = jax.lax.fori_loop(0, 100, narrow, (jnp.array(0.05, quality.dtype), jnp.array(20.0, quality.dtype)))
  temperature = sum(bounds) / 2
  return TemperatureFit(temperature, distance(temperature))


def congestion_interval(
  quality: Float[Array, "N E"], loads: Float[Array, "N E"], draws: Int[Array, "R N"], *, level: float = 0.95
) -> Interval:
  """Percentiles of gamma over R bootstrap samples of N batches, recomputed from each sample's mean q and m.

  arXiv 2604.04230, which uses 50 independent batches of text; percentiles are inferred. `draws` are uniform in
  0 .. N - 1.

  >>> quality, loads = jnp.zeros((2, 2)), jnp.array([[0.5, 0.5], [0.5, 0.5]])
  >>> print(*congestion_interval(quality, loads, jnp.array([[0, 0], [0, 1]])))
  0.0 0.0
  """
  same_shape("congestion_interval", "N E", quality=quality, loads=loads)
  samples = congestion_coefficient(*(widen(x)[draws].mean(axis=1) for x in (quality, loads)))
  tail = (1 - level) / 2
  return Interval(*jnp.quantile(samples, jnp.array([tail, 1 - tail], samples.dtype)))


def congestion_phases(gammas: Float[Array, "B T"], *, rise: float = 0.05, fall: float = 0.75) -> Int[Array, "B T"]:
  """Phase of each checkpoint of a run: `SURGE` if gamma grew by more than `rise`, `RELAXATION` below `fall` max.

  Otherwise `STABILISATION`, which is also the first checkpoint's phase. The phases are those of arXiv 2604.04230; the
  rule is ours. The maximum is over the checkpoints so far, and relaxation takes precedence over a surge.

  >>> print(congestion_phases(jnp.array([[14.0, 30.0, 38.0, 37.0, 20.0]])))
  [[1 0 0 1 2]]
  """
  gammas = widen(gammas)
  before = jnp.concatenate([gammas[:, :1], gammas[:, :-1]], axis=1)
  grew = gammas - before > rise * jnp.abs(before)
  relaxed = gammas < fall * jax.lax.cummax(gammas, axis=1)
  return jnp.where(relaxed, RELAXATION, jnp.where(grew, SURGE, STABILISATION)).astype(jnp.int32)
