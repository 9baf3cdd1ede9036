"""Values of cut points: by hand, and where a greedy policy makes them certain."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.branches import Boundaries, Branches, branches, values_of
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from tests.methods.batches import batch_of
from tests.rollouts.collecting import collected
from tests.training import small

GREEDY, SAMPLES = Sampling(greedy=True), 3


def test_values_by_hand():
  """Two rows of three boundaries with two completions: the first of row 1 has the text of the first of row 0."""
  rows = batch_of(
    np.ones((12, 1)),
    rewards=[1, 0, 1, 1, 9, 9, 9, 9, 0.5, 9, 9, 9],
    row_mask=np.array([1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0], bool),
    reward_mask=np.array([1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1], bool),
  )
  sources, mask = np.array([[0, 1, 2], [0, 4, 5]]), np.array([[True, True, False], [True, True, False]])
  values = jax.jit(lambda rows: values_of(Branches(rows, sources), mask))
  found = values(rows)
  np.testing.assert_allclose(found.values, [[0.5, 1, 0], [0.5, 0.5, 0]])  # unscored does not count …
  np.testing.assert_allclose(found.variances, [[0.25, 0, 0], [0.25, 0, 0]])
  unfinished = rows.replace(unfinished=~rows.reward_mask)
  found = values(unfinished)
  np.testing.assert_allclose(found.values[1], [0.5, 0.25, 0])  # … but cut by its limit counts 0


def graded(task):
  """The task, where every response has a reward of its own, also one that does not end."""

  def verify(prompts, tokens, mask):
    rewards = 0.1 + (tokens * mask * jnp.arange(1, tokens.shape[1] + 1)).sum(axis=1) / 1e4
    return task.verify(prompts, tokens, mask).replace(rewards=rewards)

  return dataclasses.replace(task, verify=verify)


@functools.cache
def branched():
  """Greedy responses, which are alike within a group, cut before slots 0, 1 and 3. They never end: those of the first
  prompt fill their slots, those of the second are cut before. Row 2 is not used."""
  experiment = small.make_experiment("num_seeds=1")
  task = graded(experiment.task)
  params = small.make_seed(experiment, 3).models["policy"].params
  plan, _ = experiment.method.curriculum.next((), task, jax.random.key(1))
  limits = plan.response_limits - jnp.repeat(jnp.array([0, 1]), 4)
  plan = plan.replace(row_mask=plan.row_mask.at[2].set(False), response_limits=limits)

  def boundaries(trajectories):
    starts = jnp.broadcast_to(jnp.array([0, 1, 3]), (trajectories.tokens.shape[0], 3))
    return Boundaries(starts, starts < trajectories.response_lengths[:, None])

  rollout = branches(task, flat(task, 4, GREEDY), boundaries, SAMPLES, GREEDY)
  models = {"policy": BoundModel(experiment.models["policy"], params)}
  run = jax.jit(lambda key: collected(rollout, models, (), plan, task, key))
  return plan, jax.device_get(run(jax.random.key(0)))


def test_a_greedy_policy_is_worth_what_it_gets():
  plan, (_, rows, *_) = branched()
  mask, used = rows.extras["cut_mask"], rows.row_mask
  assert rows.tokens.shape[0] == plan.row_mask.shape[0]
  np.testing.assert_array_equal(mask, np.repeat(used[:, None], 3, axis=1))
  assert rows.truncated.all() and (rows.rewards > 0.1)[:2].all()
  # Completions that the plan's limit cuts have no verdict, and count 0.
  worth = np.where(np.arange(8) < 4, rows.rewards, 0)[:, None]
  np.testing.assert_allclose(rows.extras["cut_values"], np.where(mask, worth, 0), rtol=1e-6)
  np.testing.assert_allclose(rows.extras["cut_variances"], 0, atol=1e-12)
  assert {n for n in rows.extras if n.startswith("cut")} == {"cut_starts", "cut_mask", "cut_values", "cut_variances"}


def test_text_is_sampled_once_and_every_token_is_counted():
  """Of rows alike one is completed: SAMPLES completions of what is left after each cut."""
  _, result = branched()
  rows = result.trajectories
  lengths = rows.response_lengths
  left = sum(np.maximum(lengths - cut, 0) for cut in (0, 1, 3)) * SAMPLES
  first = [i == np.flatnonzero(rows.group_ids == group)[0] for i, group in enumerate(rows.group_ids)]
  assert result.generated_tokens == lengths.sum() + left[first].sum()


def test_no_completions_are_refused():
  with pytest.raises(ValueError, match="at least 1 completion from each boundary, got 0"):
    branches(None, flat(None, 4, GREEDY), lambda trajectories: None, 0, GREEDY)
