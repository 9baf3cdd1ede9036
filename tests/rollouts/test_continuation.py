"""Continuing from the midst of a response: alignment, agreement with the sampler, what is trained, limits."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.continuation import concatenate, prefixes, resample_from
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from tests.methods.batches import batch_of
from tests.rollouts.collecting import collected
from tests.training import small

GREEDY = Sampling(greedy=True)


@functools.cache
def rolled():
  """A greedy rollout of an untrained policy, and the parts that made it."""
  experiment = small.make_experiment("num_seeds=1")
  seed = small.make_seed(experiment)
  policy = BoundModel(experiment.models["policy"], seed.models["policy"].params)
  plan, _ = experiment.method.curriculum.next((), experiment.task, jax.random.key(1))
  group = plan.row_mask.shape[0] // plan.prompt_ids.shape[0]
  task, rollout = experiment.task, flat(experiment.task, group, GREEDY)
  run = jax.jit(lambda key: collected(rollout, {"policy": policy}, (), plan, task, key).trajectories)
  return task, policy, run(jax.random.key(0))


@functools.cache
def again(**options):
  task, policy, rows = rolled()
  return jax.jit(
    lambda rows, cuts, limits: resample_from(
      policy, task, rows, cuts, jax.random.key(2), sampling=GREEDY, limits=limits, **options
    )
  )


def test_prefixes_are_moved_to_the_right_edge():
  rows = batch_of([[0, 0, 1, 1], [0, 0, 1, 1]], tokens=[[1, 2, 3, 4], [5, 6, 7, 8]])
  found = prefixes(rows, jnp.array([3, 2]))
  np.testing.assert_array_equal(jnp.where(found.mask, found.tokens, 0), [[0, 1, 2, 3], [0, 0, 5, 6]])


def test_a_greedy_response_goes_on_as_it_was():
  task, _, rows = rolled()
  count = rows.tokens.shape[0]
  cuts = task.prompt_tokens + jnp.arange(count) % (task.response_tokens + 1)
  cuts = jnp.minimum(cuts, task.prompt_tokens + rows.response_lengths)
  before = jnp.arange(rows.tokens.shape[1]) < cuts[:, None]
  done = again()(rows, cuts, None)
  ended = cuts == task.prompt_tokens + rows.response_lengths  # what follows an ended response is not its business
  same = ~ended | rows.truncated
  mask = rows.attention_mask & same[:, None]
  np.testing.assert_array_equal(done.attention_mask & same[:, None], mask)
  np.testing.assert_array_equal(jnp.where(mask, done.tokens, 0), jnp.where(mask, rows.tokens, 0))
  np.testing.assert_array_equal(jnp.where(mask, done.positions, 0), jnp.where(mask, rows.positions, 0))
  np.testing.assert_allclose(jnp.where(mask, done.old_logprobs, 0), jnp.where(mask, rows.old_logprobs, 0), atol=1e-5)
  np.testing.assert_array_equal(done.loss_mask & same[:, None], rows.loss_mask & ~before & same[:, None])
  np.testing.assert_array_equal((done.truncated == rows.truncated) | ended, True)
  assert not done.unfinished.any() and not done.scored.any()


def test_what_was_said_of_the_old_ending_is_dropped():
  task, _, rows = rolled()
  count = rows.tokens.shape[0]
  told = rows.replace(rewards=jnp.ones(count), objectives=jnp.ones((count, 2)))
  assert told.verified.all() and told.extras
  done = again()(told, jnp.full(count, task.prompt_tokens), None)
  for name in ("rewards", "objectives", "verified", "reward_mask", "ref_logprobs", "token_rewards"):
    assert not getattr(done, name).any(), name
  assert done.extras == {} and (done.step_ids == -1).all()


def test_a_row_that_is_cut_by_its_own_limit_is_unfinished():
  task, _, rows = rolled()
  count = rows.tokens.shape[0]
  start = jnp.full(count, task.prompt_tokens)
  done = again(max_tokens=2)(rows, start, jnp.arange(count) % 3)
  ended = rows.response_lengths <= jnp.arange(count) % 3
  np.testing.assert_array_equal(done.unfinished, ~ended | (jnp.arange(count) % 3 == 0))
  assert not done.truncated.any()
  np.testing.assert_array_equal(done.response_lengths, jnp.minimum(jnp.arange(count) % 3, rows.response_lengths))


def test_rows_are_put_together_with_the_extras_of_all():
  one = batch_of([[1, 1]], extras={"a": [1.0]})
  both = concatenate(one, batch_of([[1, 0]], extras={"b": [[2, 3]]}))
  assert both.extras["a"].tolist() == [1.0, 0.0] and both.extras["b"].tolist() == [[0, 0], [2, 3]]
  assert both.loss_mask.tolist() == [[True, True], [True, False]]


def test_objectives_that_not_all_rows_have_are_zero():
  one, two = batch_of([[1, 1]], objectives=[[0.5, 1.0]]), batch_of([[1, 0], [0, 1]], objectives=np.zeros((2, 0)))
  np.testing.assert_array_equal(concatenate(two, one).objectives, [[0, 0], [0, 0], [0.5, 1]])


@pytest.mark.parametrize("cut", [0, 3])
def test_an_empty_ending_changes_nothing_but_what_is_trained(cut):
  task, _, rows = rolled()
  cuts = jnp.full(rows.tokens.shape[0], rows.tokens.shape[1] - cut)
  done = again()(rows, cuts, jnp.zeros(rows.tokens.shape[0], jnp.int32))
  assert not done.loss_mask.any()
  kept = jnp.arange(rows.tokens.shape[1]) < cuts[:, None]
  np.testing.assert_array_equal(done.attention_mask, rows.attention_mask & kept)


@pytest.mark.parametrize(
  ("widths", "said"),
  [
    ([(1, 3), (2, 3)], "1 of 3 and 2 of 3"),
    ([(2, 3), (2, 4)], "2 of 3 and 2 of 4"),
    ([(2, 5), (1, 3)], "1 of 3 and 2"),
  ],
)
def test_rows_with_prompts_of_other_widths_are_no_one_batch(widths, said):
  parts = [batch_of(np.ones((2, time)), prompt_width=width) for width, time in widths]
  with pytest.raises(ValueError, match=f"rows with prompts in {said}.* slots cannot be one batch"):
    concatenate(*parts)
