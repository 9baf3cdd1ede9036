"""Several seeds as one program."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from rl_jax.rollouts.sampler import SEED_AXIS


def over_seeds(function: Callable[..., Any], count: int) -> Callable[..., Any]:
  """`function` of one seed's trees as a function of all seeds' (leading axis `count`), under the named axis of seeds.

  One seed runs unbatched: a batch axis of one keeps XLA on CPU from updating the cache in place (jax 0.10).
  """
  if count > 1:
    return jax.vmap(function, axis_name=SEED_AXIS)

  def one(*trees):
    squeezed = jax.tree.map(lambda x: x[0], trees)
    return jax.tree.map(lambda x: jnp.asarray(x)[None], function(*squeezed))  # as vmap takes plain numbers too

  return one
