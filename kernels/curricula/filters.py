"""Filters of prompt groups: those that carry a gradient (DAPO), those of medium difficulty (PRIME)."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_is_constant, group_mean, group_size, group_sum


def informative_groups(
  metric: Float[Array, " B"], group_ids: Int[Array, " B"], mask: Bool[Array, " B"]
) -> Bool[Array, " B"]:
  """True on scored rows whose group has more than one value of the metric, or is a group of one.

  DAPO, arXiv 2503.14476, equation 11 (0 < number correct < G), with verl's exception for single samples. Unscored
  rows are False and do not count.

  >>> print(informative_groups(jnp.array([1.0, 1.0, 1.0, 0.0, 0.0]), jnp.array([4, 4, 8, 8, 9]), jnp.ones(5, bool)))
  [False False  True  True  True]
  """
  same_shape("informative_groups", "B", metric=metric, group_ids=group_ids, mask=mask)
  size = group_size(group_ids, mask)
  return (mask != 0) & (~group_is_constant(metric, group_ids, mask) | (size == 1))


def accuracy_filter(
  outcomes: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  truncated: Bool[Array, " B"] | None = None,
  low: float = 0.2,
  high: float = 0.8,
) -> Bool[Array, " B"]:
  """True on scored rows whose group has low <= mean outcome <= high.

  PRIME, arXiv 2502.01456. `truncated` marks responses that hit the length limit: a group with any is dropped
  (optional in the code). Unscored rows are False and do not count.

  >>> outcomes, ids = jnp.array([1.0, 1.0, 1.0, 0.0, 0.25]), jnp.array([4, 4, 8, 8, 9])
  >>> print(accuracy_filter(outcomes, ids, jnp.ones(5, bool)))
  [False False  True  True  True]
  """
  same_shape("accuracy_filter", "B", outcomes=outcomes, mask=mask)
  mean = group_mean(outcomes, group_ids, mask)
  keep = (mask != 0) & (low <= mean) & (mean <= high)
  return keep if truncated is None else keep & (group_sum(truncated, group_ids, mask) == 0)
