"""Advantages against what a role has earned so far: a running mean of rewards for each."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.kernels._checks import same_shape
from rl_jax.kernels.reductions import widen, zero_masked
from rl_jax.kernels.scans import values_after


class RAE(NamedTuple):
  """Advantages, and the baselines after these rows."""

  advantages: Float[Array, " B"]
  baselines: Float[Array, " K"]


def rae(
  rewards: Float[Array, " B"],
  roles: Int[Array, " B"],
  mask: Bool[Array, " B"],
  baselines: Float[Array, " K"],
  *,
  decay: float = 0.95,
) -> RAE:
  """A_i = r_i - b, b <- decay b + (1 - decay) r_i, row after row, with one b for each role.

  Role-conditioned advantage estimation of SPIRAL, arXiv 2506.24119: a role is a player of a game, or a kind of task.
  Row i is compared with b before its own reward enters, the order of the authors' code, which keeps the gradient
  unbiased. b starts at 0. Unscored rows, and rows with a role outside 0 .. K-1, get 0 and change nothing.

  >>> estimate = rae(jnp.array([1.0, 1.0, 0.0]), jnp.array([0, 0, 1]), jnp.array([True] * 3), jnp.array([0.0, 0.5]))
  >>> print(estimate.advantages.round(4), estimate.baselines.round(4))
  [ 1.    0.95 -0.5 ] [0.0975 0.475 ]
  """
  same_shape("rae", "B", rewards=rewards, roles=roles, mask=mask)
  baselines = widen(baselines)
  of_role = (roles[None] == jnp.arange(baselines.shape[0])[:, None]) & (mask != 0)
  terms = jnp.where(of_role, (1 - decay) * zero_masked(rewards, mask), 0).astype(baselines.dtype)
  keep = jnp.where(of_role, decay, 1).astype(baselines.dtype)
  before = values_after(keep[:, ::-1], terms[:, ::-1], baselines)[:, ::-1]  # the scans of the house run backwards
  advantages = zero_masked(rewards, of_role.any(axis=0)) - jnp.where(of_role, before, 0).sum(axis=0)
  return jax.lax.stop_gradient(RAE(advantages, keep[:, -1] * before[:, -1] + terms[:, -1]))
