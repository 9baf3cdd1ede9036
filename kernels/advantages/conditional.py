"""CANON: responses compared with the half of their group that is high, or low, in some metric.

CANON, arXiv 2509.23962. The responses to a prompt are cut at the median of a metric (length, entropy). Against the
mean of the other half, the trend that earns more reward is pushed; against the mean of the own half, the best response
within a trend. `mixing_by_accuracy` and `mixing_by_cosine` say how much of each.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.advantages.group import SINGLETONS, opo
from rl_jax.kernels.reductions import Mean, densify, group_mean, group_size, masked_mean, widen, zero_masked

HALVES = ("upper", "lower")
ORDERS = ("inter", "intra")


class ConditionalAdvantages(NamedTuple):
  """0 and False in unscored rows; no gradient."""

  advantages: Float[Array, " B"]
  """(mu inter + (1 - mu) intra) / divisor."""
  inter: Float[Array, " B"]
  """Advantages against the other half, with alpha and beta."""
  intra: Float[Array, " B"]
  """Advantages against the row's own half."""
  upper: Bool[Array, " B"]
  """Rows of the half with the high metric."""


def mean_entropy(entropies: Float[Array, "B T"], mask: Num[Array, "B T"], *, eps: float = 1e-8) -> Float[Array, " B"]:
  """sum_t H_t / (|o| + eps), CANON's entropy metric; 0 for an empty response. No gradient.

  arXiv 2509.23962; eps as in its code. H_t are the entropies of the old policy's next token distributions, at the
  temperature of the rollout. The length metric is |o|.

  >>> print(mean_entropy(jnp.array([[0.5, 1.0, 9.0]]), jnp.array([[1, 1, 0]])))
  [0.75]
  """
  same_shape("mean_entropy", "B T", entropies=entropies, mask=mask)
  mean = masked_mean(entropies, mask != 0, axis=1)
  return jax.lax.stop_gradient(Mean(mean.sum, mean.weight + eps).value)


def upper_half(metric: Num[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"]) -> Bool[Array, " B"]:
  """True on the ceil(n / 2) scored rows of each group with the highest metric; the later of equal rows is the higher.

  CANON's split at the median, arXiv 2509.23962. Unscored rows are False and do not count.

  >>> print(upper_half(jnp.array([0.3, 0.1, 0.2, 0.5]), jnp.array([7, 7, 7, 9]), jnp.ones(4, bool)))
  [ True False  True  True]
  """
  same_shape("upper_half", "B", metric=metric, group_ids=group_ids, mask=mask)
  scored, dense = mask != 0, densify(group_ids)
  # A stable sort by group, and in it the scored rows first, from low to high.
  order = jnp.lexsort((zero_masked(metric, scored), ~scored, dense))
  places = jnp.zeros_like(dense).at[order].set(jnp.arange(scored.size, dtype=dense.dtype))
  ranks = places - jax.ops.segment_min(places, dense, num_segments=scored.size)[dense]
  return scored & (ranks >= group_size(group_ids, scored) // 2)


def canon(
  rewards: Float[Array, " B"],
  metric: Num[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  mu: float | Float[Array, ""],
  alpha: float = 1.0,
  weighted: str = "upper",
  beta: float = 0.0,
  divisor: float = 1.0,
  singleton: str = "raw",
) -> ConditionalAdvantages:
  """A = mu inter + (1 - mu) intra; inter = r - mean of the other half, intra = r - mean of the own half.

  CANON, arXiv 2509.23962, equations 3 to 5, with the halves of `upper_half`. mu 1 is CANON-Inter, 0 CANON-Intra, 1/2
  with equal halves Dr.GRPO. alpha below 1 multiplies the rewards of one half where inter compares the two:
  alpha r - m- and r - alpha m+ with `weighted` "upper" (equation 9; CANON-Eff: the length, mu 1/2, alpha 0.5 to 0.96),
  alpha r - m+ and r - alpha m- with "lower" (its code for the entropy). beta is added to inter in the upper half and
  taken off in the lower one (in the code, always 0). `divisor` is the maximal response length where the loss is a sum
  over tokens, as in the code, and stays 1 with `aggregate(mode="sequence_mean_constant")`.

  Row numbers as the metric give the paper's random control, with mu 1. Constant groups give exactly 0 with alpha 1 and
  beta 0, not otherwise. A group of one: both means are 0 ("raw", as in the code), or the advantage is ("zero", not in
  the paper).

  >>> rewards, metric = jnp.array([1.0, 0.0, 1.0, 1.0]), jnp.array([0.2, 0.9, 0.4, 0.7])
  >>> result = canon(rewards, metric, jnp.array([7, 7, 7, 7]), jnp.ones(4, bool), mu=0.75)
  >>> print(result.inter, result.intra, result.advantages)
  [ 0.5 -1.   0.5  0. ] [ 0.  -0.5  0.   0.5] [ 0.375 -0.875  0.375  0.125]
  """
  known_option("canon", "weighted", weighted, HALVES)
  known_option("canon", "singleton", singleton, SINGLETONS)
  same_shape("canon", "B", rewards=rewards, metric=metric, group_ids=group_ids, mask=mask)
  upper = upper_half(metric, group_ids, mask)
  # OPO's weighted baseline is the mean of a half, if the half is the weight.
  above_upper = opo(rewards, group_ids, upper, mask, singleton=singleton)
  above_lower = opo(rewards, group_ids, ~upper, mask, singleton=singleton)
  inter = jnp.where(upper, above_lower, above_upper)
  intra = jnp.where(upper, above_upper, above_lower)

  half = (upper if weighted == "upper" else ~upper) & (mask != 0)
  mean = group_mean(rewards, group_ids, half)
  inter = inter + (alpha - 1) * jnp.where(half, zero_masked(rewards, mask), -mean) + jnp.where(upper, beta, -beta)
  has_peers = (mask != 0) & (group_size(group_ids, mask) > (1 if singleton == "zero" else 0))
  inter, intra = zero_masked(inter, has_peers), zero_masked(intra, has_peers)
  mu = widen(jnp.asarray(mu))
  advantages = zero_masked((mu * inter + (1 - mu) * intra) / divisor, has_peers)
  return jax.lax.stop_gradient(ConditionalAdvantages(advantages, inter, intra, upper))


def mixing_by_accuracy(accuracy: Float[Array, "..."], *, first: str = "inter") -> Float[Array, "..."]:
  """mu = 1 - accuracy (First-Inter-Later-Intra) or accuracy (`first` "intra"), the mean reward of the batch.

  CANON, arXiv 2509.23962. The mean is `advantages.difficulty.batch_success_rate`, for rewards 0 and 1.

  >>> print(mixing_by_accuracy(jnp.array(0.25)), mixing_by_accuracy(jnp.array(0.25), first="intra"))
  0.75 0.25
  """
  known_option("mixing_by_accuracy", "first", first, ORDERS)
  accuracy = widen(accuracy)
  return jax.lax.stop_gradient(1 - accuracy if first == "inter" else accuracy)


def mixing_by_cosine(
  step: Num[Array, "..."],
  *,
  first: str = "inter",
  total: int = 150,
  warmup: int = 30,
  cycles: int = 3,
  highest: float | None = None,
  lowest: float | None = None,
) -> Float[Array, "..."]:
  """mu = c(step), or 1 - c(step) with `first` "intra"; c rises to its maximum, then falls along half a cosine, often.

  CANON, arXiv 2509.23962, the Cosin schedules. c = highest (step + 1) / warmup in the first `warmup` steps, after which
  lowest + (highest - lowest) (1 + cos(pi e / cycle)) / 2, e = 0 .. cycle - 1, is repeated; cycle =
  floor((total - warmup) / cycles). Steps count from 0 and may go beyond `total`. highest and lowest are 1 and 0.4 for
  "inter", 0.6 and 0 for "intra".

  >>> print(mixing_by_cosine(jnp.array([14, 29, 30, 70, 110]), lowest=0.5))
  [0.5 1.  1.  1.  1. ]
  """
  known_option("mixing_by_cosine", "first", first, ORDERS)
  if cycles < 1 or warmup < 0 or total - warmup < cycles:
    raise ValueError(
      f"mixing_by_cosine: expected a step for each cycle after the warmup, got total {total}, warmup {warmup}, "
      f"cycles {cycles}"
    )
  default = {"inter": (1.0, 0.4), "intra": (0.6, 0.0)}[first]
  high, low = default[0] if highest is None else highest, default[1] if lowest is None else lowest
  step, cycle = widen(step), (total - warmup) // cycles
  rising = high * (step + 1) / max(warmup, 1)
  falling = low + (high - low) / 2 * (1 + jnp.cos(jnp.pi * ((step - warmup) % cycle) / cycle))
  c = jnp.where(step < warmup, rising, falling)
  return jax.lax.stop_gradient(c if first == "inter" else 1 - c)
