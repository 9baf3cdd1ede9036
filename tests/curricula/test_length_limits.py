"""Limits by iteration on the plans of another curriculum, whose state and updates stay its own."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.epochs import epochs
from rl_jax.curricula.length_limits import length_limits

TASK = types.SimpleNamespace(sizes={"train": 5, "held_out": 3}, response_tokens=9)


@pytest.mark.parametrize("limit", [lambda iteration: 8 - 3 * iteration, lambda iteration: 20])
def test_plans_are_those_of_the_base_with_limits_of_their_own(limit):
  base = epochs(2, 3)
  curriculum = length_limits(base, limit)
  state, plain = (c.init(jax.random.key(3)) for c in (curriculum, base))
  for iteration in range(3):
    plan, state = curriculum.next(state, TASK, jax.random.key(iteration))
    expected, plain = base.next(plain, TASK, jax.random.key(iteration))
    np.testing.assert_array_equal(plan.prompt_ids, expected.prompt_ids)
    np.testing.assert_array_equal(plan.row_mask, expected.row_mask)
    np.testing.assert_array_equal(plan.response_limits, np.full(6, min(9, limit(iteration))))
    assert plan.response_limits.dtype == jnp.int32 and state.iteration == iteration + 1
    jax.tree.map(np.testing.assert_array_equal, state.base, plain)


def test_updates_and_needs_are_those_of_the_base():
  base = epochs(2, 3)._replace(update=lambda state, trajectories, signal: (trajectories, signal), requires=("levels",))
  curriculum = length_limits(base, lambda iteration: 4)
  state = curriculum.update(curriculum.init(jax.random.key(0)), 1, 2)
  assert state.base == (1, 2) and state.iteration == 0 and curriculum.requires == ("levels",)
