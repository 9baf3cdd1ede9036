"""Rewards of rows, placed on their tokens."""

from __future__ import annotations

import jax.numpy as jnp
from jaxtyping import Array, Float

from rl_jax.kernels.reductions import zero_masked
from rl_jax.kernels.scans import move_to_trainable
from rl_jax.trajectories import Trajectories


def token_rewards(trajectories: Trajectories) -> Float[Array, "B T"]:
  """Rewards [B, T] on the tokens that earned them; the rest of a row's reward is on its last trained token."""
  dense = zero_masked(trajectories.token_rewards, trajectories.attention_mask)
  last = dense.at[:, -1].add(jnp.where(trajectories.scored, trajectories.rewards - dense.sum(axis=1), 0.0))
  return move_to_trainable(last, trajectories.trained, jnp.ones_like(trajectories.trained))
