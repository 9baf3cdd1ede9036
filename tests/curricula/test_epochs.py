"""Passes: every problem once in each, another order in each, exact from a saved position."""

from __future__ import annotations

import functools
import types

import jax
import numpy as np
import pytest

from rl_jax.curricula.epochs import epochs


@functools.cache
def compiled(prompts, size):
  task = types.SimpleNamespace(sizes={"train": size, "held_out": 3}, response_tokens=9)
  return jax.jit(lambda state, key: epochs(prompts, 2).next(state, task, key))


def start(seed):
  return epochs(1, 1).init(jax.random.key(seed))


def drawn(prompts, state, size, iterations):
  """(ids of all plans in a row, state after them)"""
  step, ids = compiled(prompts, size), []
  for iteration in range(iterations):
    plan, state = step(state, jax.random.key(iteration))
    ids += plan.prompt_ids.tolist()
  return ids, state


# Plans within a pass, over its end, of a whole pass, and over several passes.
@pytest.mark.parametrize(("prompts", "size", "iterations"), [(4, 12, 9), (5, 7, 14), (6, 6, 3), (7, 3, 6), (8, 1, 2)])
def test_every_pass_holds_every_problem_once(prompts, size, iterations):
  ids, state = drawn(prompts, start(0), size, iterations)
  passes, rest = divmod(prompts * iterations, size)
  for number in range(passes):
    assert sorted(ids[number * size : (number + 1) * size]) == list(range(size))
  assert len(set(ids[passes * size :])) == rest
  assert (int(state.epoch), int(state.offset)) == (passes, rest)


def test_the_order_is_that_of_the_key_and_the_pass():
  orders = [drawn(10, start(seed), 40, 8)[0] for seed in (0, 0, 1)]
  assert orders[0] == orders[1] != orders[2]
  assert orders[0][:40] != orders[0][40:]
  want = jax.random.permutation(jax.random.fold_in(jax.random.key(0), 1), 40)
  assert orders[0][40:] == want.tolist()


def test_a_saved_position_goes_on_exactly():
  whole, end = drawn(5, start(3), 13, 8)
  for stop in (2, 3, 5):  # within passes and where a plan went over the end of one
    before, state = drawn(5, start(3), 13, stop)
    saved = jax.tree.map(np.asarray, jax.device_get(state))  # as a checkpoint holds it: plain arrays
    after, last = drawn(5, saved, 13, 8 - stop)
    assert before + after == whole
    jax.tree.map(np.testing.assert_array_equal, last, end)


def test_a_plan_is_of_the_whole_capacity_and_keeps_the_state_through_updates():
  curriculum = epochs(4, 3)
  task = types.SimpleNamespace(sizes={"train": 10}, response_tokens=9)
  state = curriculum.init(jax.random.key(0))
  plan, after = curriculum.next(state, task, jax.random.key(1))
  assert plan.row_mask.shape == (12,) and plan.row_mask.all() and (plan.response_limits == 9).all()
  assert curriculum.update(after, None, None) is after


def test_a_part_of_the_problems_is_passed_over_alone():
  """Of 10 problems the last 40 %, in the order that a task of these 4 alone would have."""
  task = lambda size: types.SimpleNamespace(sizes={"train": size}, response_tokens=9)
  part, alone = epochs(3, 1, (0.6, 1.0)), epochs(3, 1)
  state = part.init(jax.random.key(5))
  for _ in range(4):
    plan, after = part.next(state, task(10), jax.random.key(0))
    wanted, _ = alone.next(state, task(4), jax.random.key(0))
    np.testing.assert_array_equal(plan.prompt_ids, 6 + wanted.prompt_ids)
    state = after


@pytest.mark.parametrize(
  ("task", "message"),
  [
    (types.SimpleNamespace(sizes=None), "passes over all problems need a finite number of them: set task.pool_size"),
    (types.SimpleNamespace(sizes={"train": 3}), "no problem in the part .0.5, 0.5. of 3"),
  ],
)
def test_without_problems_it_ends_in_one_line(task, message):
  curriculum = epochs(2, 1, (0.5, 0.5))
  with pytest.raises(ValueError, match=message):
    curriculum.next(curriculum.init(jax.random.key(0)), task, jax.random.key(1))
