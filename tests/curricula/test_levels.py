"""Problems of given levels: the right level, the task's own problems, a key's own draw."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from rl_jax.curricula.levels import ids_of_levels
from rl_jax.tasks import chain


@functools.cache
def compiled(pool_size=0):
  levels = {
    name: {"operations": 2 + i, "weight": w} for i, (name, w) in enumerate({"a": 1.0, "b": 6.0, "c": 1}.items())
  }
  task = chain.build(ConfigDict({**chain.get_config(), "levels": levels, "pool_size": pool_size}))
  return jax.jit(lambda key, levels: (ids := ids_of_levels(task, key, levels), task.levels_of(ids, "train")))


def test_every_problem_is_of_the_level_asked_for():
  levels = jnp.arange(48) % 3
  ids, found = compiled()(jax.random.key(0), levels)
  np.testing.assert_array_equal(found, levels)
  assert len(set(ids.tolist())) == 48, "no problem is drawn for two places"
  again, _ = compiled()(jax.random.key(0), levels)
  other, _ = compiled()(jax.random.key(1), levels)
  np.testing.assert_array_equal(again, ids)
  assert not set(ids.tolist()) & set(other.tolist())


def test_problems_of_a_pool_stay_in_it():
  ids, found = compiled(pool_size=16)(jax.random.key(0), jnp.full(48, 1))
  assert (found == 1).all() and 4 < len(set(ids.tolist())) <= 16 and max(ids.tolist()) < 16
