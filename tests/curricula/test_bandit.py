"""The bandit of levels: uniform at first, then where advantages are large; levels without problems are left alone."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from rl_jax.curricula.bandit import bandit, occurring
from rl_jax.methods.method import Signal, Stream
from rl_jax.tasks import chain
from tests.methods.batches import batch_of

WEIGHTS = {"two": 1.0, "three": 3.0, "four": 1.0}


@functools.cache
def made(tau=0.1):
  levels = {name: {"operations": i + 2, "weight": w} for i, (name, w) in enumerate(WEIGHTS.items())}
  task = chain.build(ConfigDict({**chain.get_config(), "levels": levels}))
  task = dataclasses.replace(task, levels=(*task.levels, "empty"))
  curriculum = bandit(task, 64, 2, window=3, tau=tau)

  def draw(state, key):
    plan, state = curriculum.next(state, task, key)
    return plan, task.levels_of(plan.prompt_ids, "train"), state

  return task, curriculum, jax.jit(draw)


def updated(state, levels, advantages, **fields):
  """After rows of two tokens whose advantages are those given, on average."""
  targets = jnp.array(advantages)[:, None] + jnp.array([0.5, -0.5])
  stream = Stream(targets=targets, weights=jnp.ones_like(targets))
  rows = batch_of(np.ones(targets.shape), extras={"levels": levels}, **fields)
  return made()[1].update(state, rows, Signal({"policy": stream}))


def start():
  return made()[1].init(jax.random.key(0))


def test_windows_hold_the_last_absolute_advantages_of_each_level():
  state = updated(start(), [0, 2, 2, 0], [1.0, -2.0, 0.5, 9.0], reward_mask=[True, True, True, False])
  np.testing.assert_allclose(state.windows, [[1, 0, 0], [0, 0, 0], [2, 0.5, 0], [0, 0, 0]])
  np.testing.assert_array_equal(state.counts, [1, 0, 2, 0])
  after = updated(state, [2, 2], [3.0, 4.0])
  np.testing.assert_allclose(after.windows[2], [4, 0.5, 3])  # the oldest is overwritten
  same = lambda a, b: (a.shape, a.dtype) == (b.shape, b.dtype)
  assert jax.tree.all(jax.tree.map(same, start(), after))


def test_levels_without_problems_are_never_drawn():
  task, _, draw = made()
  np.testing.assert_array_equal(occurring(task), [True, True, True, False])
  plan, levels, state = draw(start(), jax.random.key(0))
  counts = np.bincount(levels, minlength=4)
  assert counts[3] == 0 and (counts[:3] > 10).all(), "uniform over levels at first, not by their weights"
  assert jax.tree.all(jax.tree.map(np.array_equal, state, start()))
  assert plan.row_mask.shape == (128,) and plan.row_mask.all()
  assert (plan.response_limits == task.response_tokens).all()


@pytest.mark.parametrize(("tau", "least"), [(0.1, 60), (0.0, 64)])
def test_problems_come_from_the_level_with_the_largest_advantages(tau, least):
  _, _, draw = made(tau)
  state = start()
  for _ in range(3):  # as often each: the bonuses are equal
    state = updated(state, [0, 0, 1, 1, 2, 2], [0.1, 0.1, 0.2, -0.2, -0.9, 0.9])
  _, levels, _ = draw(state, jax.random.key(1))
  assert np.bincount(levels, minlength=4)[2] >= least


def test_a_level_that_was_hardly_seen_is_explored():
  _, _, draw = made()
  state = updated(start(), [0] * 20 + [1] * 20, [0.5] * 40)
  _, levels, _ = draw(state, jax.random.key(1))
  assert np.bincount(levels, minlength=4)[2] == 64
