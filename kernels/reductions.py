"""Sums and means over masked, grouped and batched slots: a weighted sum and its weight, divided once.

Everything that pools over rows or tokens is here, so that zero variance, empty rows, unscored rows and groups of one
have one meaning in all kernels. `group_ids` [B] are arbitrary integers; None means that all slots form one group.
Group statistics take one value per row [B], or several [B, ...] (steps, tokens): a group then pools all slots of all
its rows, each with its own weight, and only [B] arrays move between devices.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num

from rl_jax.kernels._checks import known_option, same_shape

AGGREGATIONS = (
  "token_mean",
  "sequence_mean_token_mean",
  "sequence_mean_token_sum",
  "sequence_mean_constant",
  "constant",
)


class Mean(NamedTuple):
  """A weighted sum and its weight: add both over micro-batches and devices, then divide once."""

  sum: Float[Array, "..."]
  weight: Float[Array, "..."]

  @property
  def value(self) -> Float[Array, "..."]:
    """sum / weight, and 0 where the weight is 0."""
    return jnp.where(self.weight != 0, self.sum / jnp.where(self.weight != 0, self.weight, 1), 0)


def widen(x: Num[Array, "..."]) -> Float[Array, "..."]:
  """x in float32, or in its own type if that is wider; integers and bools in JAX's default float.

  >>> widen(jnp.ones(2, jnp.bfloat16)).dtype
  dtype('float32')
  """
  least = jnp.float32 if jnp.issubdtype(x.dtype, jnp.floating) else jnp.result_type(float)
  return x.astype(jnp.promote_types(x.dtype, least))


def zero_masked(x: Num[Array, "..."], mask: Num[Array, "..."]) -> Float[Array, "..."]:
  """x widened, with 0 where the mask is 0: the select before any operation that keeps garbage from gradients.

  >>> print(zero_masked(jnp.array([1.0, jnp.nan]), jnp.array([True, False])))
  [1. 0.]
  """
  return jnp.where(mask != 0, widen(x), 0)


def masked_mean(x: Num[Array, "..."], weights: Num[Array, "..."], axis: int | None = None) -> Mean:
  """sum w x and sum w over an axis (default: all); the value is 0 where every weight is 0.

  `weights` has the shape of x: a mask, or fractional weights. x may hold anything where the weight is 0.

  >>> print(masked_mean(jnp.array([1.0, 3.0, jnp.nan]), jnp.array([1, 1, 0])).value)
  2.0
  """
  x = zero_masked(x, weights)
  weights = weights.astype(x.dtype)
  return Mean((x * weights).sum(axis), weights.sum(axis))


def per_token(x: Float[Array, " B"], mask: Num[Array, "B T"]) -> Float[Array, "B T"]:
  """One number of each row on all its unmasked tokens, 0 elsewhere.

  >>> print(per_token(jnp.array([2.0]), jnp.array([[1, 0]])))
  [[2. 0.]]
  """
  return zero_masked(jnp.broadcast_to(x[:, None], mask.shape), mask)


def densify(*ids: Int[Array, " B"]) -> Int[Array, " B"]:
  """Arbitrary integer ids to 0, 1, ... in ascending order; of several, rows are equal where all their ids are.

  A segment sum drops ids outside 0 .. B-1; goldens and real batches have such ids.

  >>> print(densify(jnp.array([7, -2, 7, 40])))
  [1 0 1 2]
  >>> print(densify(jnp.array([7, 7, 7, 9]), jnp.array([1, 0, 1, 0])))
  [1 0 1 2]
  """
  order = jnp.lexsort(ids[::-1])
  differs = jnp.stack([key[order][1:] != key[order][:-1] for key in ids]).any(axis=0)
  starts = jnp.concatenate([jnp.zeros(1, jnp.int32), differs.astype(jnp.int32)])
  return jnp.zeros(order.shape, jnp.int32).at[order].set(jnp.cumsum(starts))


# Compiled into what calls it, but traced once for each shape: kernels of groups call it a dozen times.
@partial(jax.jit, static_argnums=(2, 3))
def _pool(x, group_ids, reduce, segment_reduce):
  """A reduction over each group's slots, back on its rows [B]; over everything, a scalar, where group_ids is None."""
  if group_ids is None:
    return reduce(x)
  if x.shape[:1] != group_ids.shape:
    raise ValueError(f"group statistics: expected x [B ...] and group_ids [B], got {x.shape} and {group_ids.shape}")
  dense = densify(group_ids)
  rows = x if x.ndim == 1 else reduce(x.reshape(x.shape[0], -1), axis=1)
  return segment_reduce(rows, dense, num_segments=x.shape[0])[dense]


def _on_slots(statistic, x):
  """A statistic [B] (or a scalar) beside the slots [B, ...] of its rows."""
  return statistic if statistic.ndim == 0 else statistic.reshape(statistic.shape + (1,) * (x.ndim - 1))


def group_sum(
  x: Num[Array, "B *S"], group_ids: Int[Array, " B"] | None, weights: Num[Array, "B *S"]
) -> Float[Array, " B"]:
  """sum_{j in group of i} w_j x_j on every row i, masked rows included; 0 for a group without weight.

  >>> print(group_sum(jnp.array([1.0, 2.0, 4.0]), jnp.array([7, 7, 9]), jnp.ones(3)))
  [3. 3. 4.]
  """
  x = zero_masked(x, weights)
  return _pool(x * weights.astype(x.dtype), group_ids, jnp.sum, jax.ops.segment_sum)


def group_mean(
  x: Num[Array, "B *S"], group_ids: Int[Array, " B"] | None, weights: Num[Array, "B *S"]
) -> Float[Array, " B"]:
  """sum_g w x / sum_g w on every row; 0 for a group without weight.

  >>> print(group_mean(jnp.array([1.0, 3.0, 4.0]), jnp.array([7, 7, 9]), jnp.array([1, 1, 0])))
  [2. 2. 0.]
  >>> print(group_mean(jnp.array([[1.0, 3.0], [8.0, 0.0]]), jnp.array([7, 7]), jnp.array([[1, 1], [1, 0]])))
  [4. 4.]
  """
  return Mean(group_sum(x, group_ids, weights), group_sum(jnp.ones_like(x), group_ids, weights)).value


def group_size(group_ids: Int[Array, " B"] | None, mask: Num[Array, "B *S"]) -> Float[Array, " B"]:
  """Number of unmasked slots of each row's group, on every row.

  >>> print(group_size(jnp.array([7, 7, 9]), jnp.array([1, 1, 0])))
  [2. 2. 0.]
  """
  return group_sum(widen(mask != 0), group_ids, mask != 0)


def group_is_constant(
  x: Num[Array, "B *S"], group_ids: Int[Array, " B"] | None, mask: Num[Array, "B *S"]
) -> Bool[Array, " B"]:
  """Return whether the unmasked values of a row's group are all equal, by range: rounding cannot hide it.

  True also for groups of one and for groups without an unmasked row.

  >>> print(group_is_constant(jnp.array([0.1, 0.1, 0.1, 0.2]), jnp.array([0, 0, 5, 5]), jnp.ones(4)))
  [ True  True False False]
  """
  x = widen(x)
  highest = _pool(jnp.where(mask != 0, x, -jnp.inf), group_ids, jnp.max, jax.ops.segment_max)
  lowest = _pool(jnp.where(mask != 0, x, jnp.inf), group_ids, jnp.min, jax.ops.segment_min)
  return highest <= lowest


def group_deviations(
  x: Num[Array, "B *S"],
  group_ids: Int[Array, " B"] | None,
  mask: Num[Array, "B *S"],
  *,
  weights: Num[Array, "B *S"] | None = None,
) -> Float[Array, "B *S"]:
  """x_i - mean_g, exactly 0 in a constant group (no rounding residue for a small std to blow up) and in masked slots.

  `weights` (default: the mask) weigh the mean.

  >>> print(group_deviations(jnp.array([1.0, 3.0, 4.0]), jnp.array([7, 7, 9]), jnp.ones(3)))
  [-1.  1.  0.]
  """
  mean = group_mean(x, group_ids, mask if weights is None else jnp.where(mask != 0, weights, 0))
  varies = ~group_is_constant(x, group_ids, mask)
  return jnp.where((mask != 0) & _on_slots(varies, x), zero_masked(x, mask) - _on_slots(mean, x), 0)


def group_std(
  x: Num[Array, "B *S"], group_ids: Int[Array, " B"] | None, mask: Num[Array, "B *S"], *, ddof: int = 1
) -> Float[Array, " B"]:
  """sqrt(sum_g w (x - mean_g)^2 / (sum_g w - ddof)) on every row; exactly 0 for constant groups and groups <= ddof.

  ddof 1 is what verl and TRL compute; papers write the population form, ddof 0.

  >>> print(group_std(jnp.array([1.0, 3.0, 4.0]), jnp.array([7, 7, 9]), jnp.ones(3), ddof=0))
  [1. 1. 0.]
  """
  squares = group_sum(jnp.square(group_deviations(x, group_ids, mask)), group_ids, mask)
  freedom = group_size(group_ids, mask) - ddof
  variance = jnp.where(freedom > 0, squares / jnp.where(freedom > 0, freedom, 1), 0)
  return jnp.where(variance > 0, jnp.sqrt(jnp.where(variance > 0, variance, 1)), 0)


def standardize(
  x: Num[Array, "B *S"],
  group_ids: Int[Array, " B"] | None,
  mask: Num[Array, "B *S"],
  *,
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, "B *S"]:
  """(x - mean_g) / (std_g + eps); exactly 0 in constant groups, groups of one and masked slots.

  >>> print(standardize(jnp.array([1.0, 3.0, 4.0]), jnp.array([7, 7, 9]), jnp.ones(3), ddof=0, eps=0.0))
  [-1.  1.  0.]
  """
  std = group_std(x, group_ids, mask, ddof=ddof)
  return group_deviations(x, group_ids, mask) / _on_slots(jnp.where(std > 0, std + eps, 1), x)


def whiten(x: Float[Array, "..."], mask: Num[Array, "..."], *, form: str = "verl") -> Float[Array, "..."]:
  """(x - mean) / sqrt(variance) over all unmasked slots of the batch, 0 in masked slots and where x is constant.

  Over [B, T] this is weighted by tokens: long responses count more. `form` "verl": unbiased variance + 1e-8;
  "openrlhf": population variance, at least 1e-8; "appo" (Sample Factory): over max(std, 1e-3), std with ddof 1. Call it
  on the whole rollout batch, never on a micro-batch.

  >>> print(whiten(jnp.array([1.0, 2.0, 3.0, jnp.nan]), jnp.array([1, 1, 1, 0])).round(3))
  [-1.  0.  1.  0.]
  """
  known_option("whiten", "form", form, ("verl", "openrlhf", "appo"))
  if form == "openrlhf":
    variance = jnp.maximum(jnp.square(group_std(x, None, mask, ddof=0)), 1e-8)
  elif form == "appo":
    return group_deviations(x, None, mask) / jnp.maximum(group_std(x, None, mask, ddof=1), 1e-3)
  else:
    variance = jnp.square(group_std(x, None, mask, ddof=1)) + 1e-8
  return group_deviations(x, None, mask) * jax.lax.rsqrt(variance)


def aggregate(
  losses: Float[Array, "B T"],
  weights: Num[Array, "B T"],
  *,
  mode: str,
  constant: float | None = None,
  rows: Bool[Array, " B"] | None = None,
) -> Mean:
  """Aggregate per-token losses l and weights w to a (sum, weight) pair; the weight never depends on the losses.

  - token_mean: sum w l / sum w (DAPO; verl's default)
  - sequence_mean_token_mean: sum_i (sum_t w l / sum_t w) / N (GRPO, GSPO)
  - sequence_mean_token_sum: sum_i sum_t w l / N
  - sequence_mean_constant: sum w l / (N constant) (Dr.GRPO as in TRL, constant = maximal length)
  - constant: sum w l / constant (Dr.GRPO as in verl's seq-mean-token-sum-norm, N times the above)

  N counts `rows` [B], by default those with any weight (verl); pass the mask of real rows to count empty responses
  (TRL). Sums and weights of micro-batches add in every mode, except that "constant" belongs to the whole batch: hand
  each of k micro-batches constant / k. All masked: sum 0, weight 0 (or the constant), value 0.

  >>> losses, weights = jnp.array([[1.0, 3.0], [6.0, jnp.nan]]), jnp.array([[1, 1], [1, 0]])
  >>> print(aggregate(losses, weights, mode="token_mean").value)
  3.3333333
  >>> print(aggregate(losses, weights, mode="sequence_mean_token_mean").value)
  4.0
  """
  known_option("aggregate", "mode", mode, AGGREGATIONS)
  same_shape("aggregate", "B T", losses=losses, weights=weights)
  if mode.endswith("constant") != (constant is not None):
    raise ValueError(f"aggregate: mode {mode!r} {'needs' if constant is None else 'takes no'} constant")
  tokens = masked_mean(losses, weights, axis=1)
  count = (tokens.weight != 0 if rows is None else rows).sum().astype(tokens.sum.dtype)
  if mode == "token_mean":
    return Mean(tokens.sum.sum(), tokens.weight.sum())
  if mode == "sequence_mean_token_mean":
    return Mean(tokens.value.sum(), count)
  if mode == "sequence_mean_token_sum":
    return Mean(tokens.sum.sum(), count)
  normalizer = jnp.asarray(constant, tokens.sum.dtype)
  return Mean(tokens.sum.sum(), count * normalizer if mode == "sequence_mean_constant" else normalizer)
