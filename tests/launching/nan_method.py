"""A user's method whose loss is NaN from the third iteration on."""

from __future__ import annotations

import jax.numpy as jnp

from rl_jax.methods import policy_gradient
from rl_jax.methods.method import Signal, Stream


def get_config() -> dict:
  return policy_gradient.get_config() | {"breaks_at": 2}


def build(config, task):
  def signal(trajectories, iteration):
    stream = policy_gradient.token_stream(trajectories, 1.0 + trajectories.rewards)
    broken = jnp.where(iteration >= config.method.breaks_at, jnp.nan, 1.0)
    return Signal({"policy": Stream(stream.targets * broken, stream.weights)})

  return policy_gradient.method(config, task, signal, papers=())
