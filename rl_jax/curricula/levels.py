"""Problems of given difficulty levels, from a task that draws its levels at random."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, PRNGKeyArray

from rl_jax.tasks.task import Task


def ids_of_levels(task: Task, key: PRNGKeyArray, levels: Int[Array, " n"]) -> Int[Array, " n"]:
  """Ids of training problems, the n-th drawn from the task's distribution conditioned on levels[n].

  Draws until all levels are met, about 1 / (share of the rarest level) times. A level without problems never ends, so
  leave out levels whose share is 0.
  """

  def draw(carry):
    attempt, ids, matches = carry
    candidates = task.problem_ids(jax.random.fold_in(key, attempt), levels.shape[0], "train")
    ids = jnp.where(matches, ids, candidates)
    return attempt + 1, ids, matches | (task.levels_of(candidates, "train") == levels)

  start = jnp.int32(0), jnp.zeros(levels.shape, jnp.int32), jnp.zeros(levels.shape, bool)
  return jax.lax.while_loop(lambda carry: ~jnp.all(carry[2]), draw, start)[1]
