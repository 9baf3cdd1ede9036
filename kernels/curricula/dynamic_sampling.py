"""DAPO's dynamic sampling: train only on groups that carry a gradient."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_is_constant, group_size


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
