"""Several seeds as one program, each with one or several learning rates.

The leading axis of a run counts its `num_seeds` members. With R `learning_rates` each seed has R adjacent members,
which draw the same keys and differ in their rates alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rl_jax.rollouts.sampler import SEED_AXIS


def member_seeds(config: ConfigDict) -> np.ndarray:
  """Seed of each member: config.seed, config.seed + 1, …, each repeated for every learning rate."""
  return config.seed + np.arange(config.num_seeds) // max(len(learning_rates(config)), 1)


def learning_rates(config: ConfigDict) -> tuple[float, ...]:
  """Learning rates of a seed's members; none if all have the config's rate."""
  return tuple(config.get("learning_rates", ()))  # recorded configs may be older than the field


def member_scales(config: ConfigDict) -> np.ndarray:
  """Factor of each member's updates: its learning rate over the config's."""
  rates = learning_rates(config)
  if not rates:
    return np.ones(config.num_seeds, np.float32)
  return np.resize(np.asarray(rates, np.float32) / np.float32(config.learning_rate), config.num_seeds)


def over_seeds(function: Callable[..., Any], count: int) -> Callable[..., Any]:
  """Function of all seeds' trees (leading axis `count`) from a function of one seed's, with the named axis of seeds.

  A single seed runs unbatched: a batch axis of one keeps XLA on CPU from updating the cache in place (jax 0.10).
  """
  if count > 1:
    return jax.vmap(function, axis_name=SEED_AXIS)

  def one(*trees):
    squeezed = jax.tree.map(lambda x: x[0], trees)
    return jax.tree.map(lambda x: jnp.asarray(x)[None], function(*squeezed))  # as vmap takes plain numbers too

  return one
