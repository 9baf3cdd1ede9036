"""The uniform curriculum: fresh prompts from the task's distribution, whole capacity, full length."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.curricula.uniform import uniform
from rl_jax.tasks import chain


@pytest.fixture(scope="module")
def task():
  return chain.build(ConfigDict({**chain.get_config(), "pool_size": 5}))


def test_a_plan_is_the_tasks_ids_for_all_rows(task):
  curriculum = uniform(4, 3)
  state = curriculum.init(jax.random.key(0))
  plan, after = curriculum.next(state, task, jax.random.key(7))
  np.testing.assert_array_equal(plan.prompt_ids, task.problem_ids(jax.random.key(7), 4, "train"))
  assert plan.row_mask.shape == plan.response_limits.shape == (12,)
  assert plan.row_mask.all() and (plan.response_limits == task.response_tokens).all()
  assert plan.row_mask.dtype == bool and jnp.issubdtype(plan.response_limits.dtype, jnp.integer)
  assert state == after == curriculum.update(after, None, None)


def test_another_key_is_another_plan_from_the_same_pool(task):
  curriculum = uniform(64, 1)
  one, other = (curriculum.next((), task, jax.random.key(k))[0].prompt_ids for k in (1, 2))
  assert not np.array_equal(one, other)
  assert len(set(one.tolist())) == len(set(other.tolist()) | set(one.tolist())) == 5
