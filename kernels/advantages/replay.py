"""Advantages of a group that mixes new responses with replayed ones."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import group_deviations, group_std


def r3_mixed(
  rewards: Float[Array, " B"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, " B"],
  *,
  alpha: float | Float[Array, " B"] = 1.0,
  lam: float = 1e-6,
  ddof: int = 1,
) -> Float[Array, " B"]:
  """A_i = (R_i - mean(G_mix)) / (alpha std(G_mix) + lam), G_mix the new and the replayed responses to one prompt.

  R3, arXiv 2601.19620, section 3. Replayed responses are rows with the group id of their prompt; `mask` is False on
  empty replay slots. alpha > 1 shrinks all advantages of a mixed group; given per row, alpha can be 1 in groups without
  replay (the paper gives the formula only for mixed groups). The values of alpha, lam and ddof are not in the paper.
  Constant groups and groups of one give 0; alpha 1 is GRPO.

  >>> rewards, ids = jnp.array([0.0, 0.0, 1.5, 1.5]), jnp.array([7, 7, 7, 7])
  >>> print(r3_mixed(rewards, ids, jnp.ones(4, bool), alpha=2.0, lam=0.0, ddof=0))
  [-0.5 -0.5  0.5  0.5]
  """
  same_shape("r3_mixed", "B", rewards=rewards, group_ids=group_ids, mask=mask)
  std = group_std(rewards, group_ids, mask, ddof=ddof)
  return jax.lax.stop_gradient(group_deviations(rewards, group_ids, mask) / jnp.where(std > 0, alpha * std + lam, 1))
