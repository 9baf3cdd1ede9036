"""The task's own pairs as rows: their tokens, ranks and rewards, the same whenever a prompt comes."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.comparisons import PROVIDES, comparisons
from rl_jax.tasks import tastes
from rl_jax.trajectories import DEMONSTRATION
from tests.rollouts.collecting import collected

TASK = tastes.build({**tastes.get_config(), "response_letters": 3, "pool_size": 32})


@jax.jit
def result_of(ids, key):
  plan = Plan(ids, jnp.ones(2 * len(ids), bool), jnp.full(2 * len(ids), TASK.response_tokens))
  return collected(comparisons(TASK), {}, (), plan, TASK, key)


def rows_of(ids, seed=0):
  result = jax.device_get(result_of(np.array(ids), jax.random.key(seed)))
  assert result.generated_tokens == 0
  return result.trajectories


def test_rows_are_the_pairs_of_the_task_with_their_ranks_and_rewards():
  ids, width = [3, 30, 7], TASK.prompt_tokens
  rows, prompts = rows_of(ids), jax.jit(TASK.prompts, static_argnums=1)(np.array(ids), "train")
  pairs = jax.device_get(jax.jit(TASK.preferences)(prompts))
  np.testing.assert_array_equal(rows.tokens[:, width:], pairs.tokens.reshape(6, -1))
  np.testing.assert_array_equal(rows.tokens[:, :width], np.repeat(prompts.tokens, 2, axis=0))
  np.testing.assert_array_equal(rows.extras["ranks"], pairs.ranks.ravel())
  np.testing.assert_array_equal(rows.extras["aspect_ranks"], pairs.aspect_ranks.reshape(6, 3))
  np.testing.assert_array_equal(rows.group_ids, [0, 0, 1, 1, 2, 2])
  assert rows.scored.all() and (rows.source_ids[:, width:] == DEMONSTRATION).all()
  assert set(PROVIDES) <= set(rows.extras)


def test_a_pair_is_the_same_whenever_its_prompt_comes():
  first, again = rows_of([5, 9]), rows_of([9, 5], seed=1)
  for name in ("tokens", "rewards"):
    np.testing.assert_array_equal(getattr(first, name)[:2], getattr(again, name)[2:])
  np.testing.assert_array_equal(first.extras["ranks"][:2], again.extras["ranks"][2:])


def test_a_task_without_preferences_ends_in_one_line():
  with pytest.raises(ValueError, match="this task has no preferences: use one that has, as rl_jax.tasks.tastes"):
    comparisons(types.SimpleNamespace(preferences=None))
