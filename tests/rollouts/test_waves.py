"""Dynamic sampling: which groups are kept, which waves are sampled, what is counted."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import BoundModel, Rollout
from rl_jax.rollouts.sampler import Sampling
from rl_jax.rollouts.waves import waves
from tests.training import small

PROMPTS, GROUP, WAVES = 2, 2, 3


def keep(trajectories):
  """Even problems; one row speaks for its group."""
  return trajectories.scored & (trajectories.prompt_ids % 2 == 0) & (jnp.arange(trajectories.tokens.shape[0]) % 2 == 1)


def again(models, state, plan, task, trajectories, key):
  """A second phase of a wave's responses, as a second turn would be: sees the wave's own rows, scored."""
  assert trajectories.tokens.shape[0] == PROMPTS * GROUP
  return state, trajectories.with_arrays(seen=trajectories.prompt_ids + 100 * trajectories.scored)


@functools.cache
def program():
  """Ids of a plan -> (trajectories, all rows before the last phase chooses)."""
  experiment = small.make_experiment("num_seeds=1")
  policy = BoundModel(experiment.models["policy"], small.make_seed(experiment).models["policy"].params)
  respond = Rollout((*flat(GROUP, Sampling()).phases, again))
  *sampled, select = waves(respond, GROUP, keep, WAVES).phases

  def noted(models, state, plan, task, trajectories, key):
    _, chosen = select(models, state, plan, task, trajectories, key)
    return trajectories, chosen

  def run(ids):
    rows = WAVES * PROMPTS * GROUP
    plan = Plan(ids, jnp.ones(rows, bool), jnp.full(rows, 5))
    rollout = Rollout((*sampled, noted))
    rows, chosen = rollout.step({"policy": policy}, (), plan, experiment.task, jax.random.key(1))
    return chosen, rows

  return jax.jit(run)


@pytest.mark.parametrize(
  ("ids", "asked", "chosen", "kept"),
  [
    ([2, 4, 6, 8, 10, 12], 2, [2, 4], 2),  # the first wave is enough
    ([1, 2, 4, 6, 8, 9], 4, [2, 4], 3),  # one more than needed is dropped
    ([1, 2, 3, 5, 4, 7], 6, [2, 4], 2),
    ([1, 3, 5, 2, 7, 9], 6, [2, 1], 1),  # too few: the rest is masked
    ([1, 3, 5, 7, 9, 11], 6, [1, 3], 0),
  ],
)
def test_the_first_groups_that_are_kept_are_chosen(ids, asked, chosen, kept):
  got, rows = program()(jnp.array(ids))
  np.testing.assert_array_equal(rows.row_mask, np.arange(12) < asked * GROUP)
  assert (rows.loss_mask.any(axis=1) == rows.row_mask).all(), "a wave that is not needed samples nothing"
  np.testing.assert_array_equal(got.prompt_ids, np.repeat(chosen, GROUP))
  np.testing.assert_array_equal(got.row_mask, np.arange(4) < min(kept, PROMPTS) * GROUP)
  np.testing.assert_array_equal(got.scored, got.row_mask)
  assert len(set(rows.group_ids.tolist())) == 6 and len(set(got.group_ids.tolist())) == 2
  assert got.trained.sum() + got.spent_tokens.sum() == rows.loss_mask.sum()
  np.testing.assert_array_equal(rows.extras["seen"], rows.prompt_ids + 100 * rows.row_mask)
  np.testing.assert_array_equal(got.extras["metric/waves"], asked / PROMPTS)
  np.testing.assert_allclose(got.extras["metric/kept"], kept / asked)


def test_rows_are_chosen_whole():
  """Each row is one of the rows before, with all that is known of it."""
  got, rows = program()(jnp.array([1, 2, 3, 5, 4, 7]))
  source = [2, 3, 8, 9]
  for name in ("tokens", "attention_mask", "old_logprobs", "rewards", "step_ids", "group_ids", "truncated"):
    np.testing.assert_array_equal(getattr(got, name), getattr(rows, name)[jnp.array(source)], err_msg=name)


def test_sizes_that_do_not_fit_are_errors():
  with pytest.raises(ValueError, match="max_waves is at least 1, got 0"):
    waves(flat(2, Sampling()), 2, keep, 0)
  with pytest.raises(ValueError, match="a plan of 4 prompts does not go into 3 waves"):
    jax.eval_shape(program(), jax.ShapeDtypeStruct((4,), jnp.int32))
