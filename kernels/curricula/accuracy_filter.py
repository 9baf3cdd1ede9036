"""PRIME's prompt filter: train only on prompts of medium difficulty."""

from __future__ import annotations

from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_mean, group_sum


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
