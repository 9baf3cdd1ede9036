"""Advantages for the best of k responses, the largest reward among them (pass@k where rewards are 0 and 1)."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import known_option, same_shape
from rl_jax.kernels.reductions import densify, group_deviations, group_size, group_std
from rl_jax.kernels.scans import linear_recurrence, values_after


def pass_at_k(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  k: int | None = None,
  scale: str = "none",
  ddof: int = 1,
  eps: float = 1e-6,
) -> Float[Array, " B"]:
  """A_i = mean over the sets S of k rows of the group that hold i of (max_S r - max_{S without i} r).

  With k the whole group (None) only the best row has an advantage, what it is better by than the second: leave one out,
  arXiv 2503.19595, section 3, verl's grpo_passk. A smaller k, arXiv 2505.15201, section 4 (there k / n times this, to
  be summed over the n rows), gives every row that some other is worse than a share. `scale` "group" divides by the
  group's std + eps, as verl does by default. Advantages are never below 0: the others lose by the normalisation of the
  policy alone. In a group of fewer rows k is their number. A row is no better than one with the same reward; constant
  groups and groups of one get 0.

  >>> args = jnp.array([1.0, 0.0, 0.25]), jnp.array([7, 7, 7]), jnp.array([True] * 3)
  >>> print(pass_at_k(*args), pass_at_k(*args, k=2))
  [0.75 0.   0.  ] [0.875 0.    0.125]
  """
  known_option("pass_at_k", "scale", scale, ("none", "group"))
  same_shape("pass_at_k", "B", rewards=rewards, group_ids=group_ids, mask=mask)
  if k is not None and k < 2:
    raise ValueError(f"pass_at_k: k is at least 2, got {k}: with k = 1 the reward itself is the advantage")
  deviations, size, groups = group_deviations(rewards, group_ids, mask), group_size(group_ids, mask), densify(group_ids)
  order = jnp.lexsort((-deviations, mask == 0, groups))  # group by group, best first, unscored rows last
  r, n, group, scored = (x[order] for x in (deviations, size, groups, mask != 0))
  places = jnp.arange(r.shape[0])
  first = jnp.concatenate([jnp.ones(1, bool), group[1:] != group[:-1]])
  below = n - 1 - (places - jax.lax.cummax(jnp.where(first, places, 0)))  # scored rows that are worse, or as good
  size_of_set = n if k is None else jnp.minimum(k, n)
  # Of row i's sets those in which row j is the best of the others: C(below_j, k - 2) of C(n - 1, k - 1), for the second
  # best row (k - 1) / (n - 1), and from there one row after the other.
  second = scored & (below == n - 2)
  start = jnp.where(second, (size_of_set - 1) / jnp.maximum(n - 1, 1), 0)
  factor = jnp.where(scored & (below < n - 2), jnp.maximum(below + 3 - size_of_set, 0) / (below + 1), 0)
  weights = linear_recurrence(factor[None, ::-1], start[None, ::-1], jnp.ones((1, r.shape[0])))[0, ::-1]
  goes_on = jnp.concatenate([~first[1:], jnp.zeros(1, bool)]).astype(r.dtype)
  sums = jnp.stack([weights, weights * r])
  total, weighted = goes_on * values_after(jnp.broadcast_to(goes_on, sums.shape), sums, jnp.zeros(2, r.dtype))
  advantages = jnp.zeros_like(r).at[order].set(jnp.where(scored & (total > 0), r * total - weighted, 0))
  if scale == "group":
    std = group_std(rewards, group_ids, mask, ddof=ddof)
    advantages = advantages / jnp.where(std > 0, std + eps, 1)
  return jax.lax.stop_gradient(advantages)
