"""Dynamic sampling: which groups are kept, which rounds are sampled, what is counted."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.reductions import Mean
from rl_jax.rollouts.dynamic_sampling import dynamic_sampling
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.rollout import BoundModel, PhaseResult, Rollout, joined_metrics, nothing_new
from rl_jax.rollouts.sampler import Sampling
from tests.rollouts.collecting import collected
from tests.training import small

PROMPTS, GROUP, ROUNDS = 2, 2, 3


def keep(trajectories):
  """Even problems; one row speaks for its group."""
  return trajectories.scored & (trajectories.prompt_ids % 2 == 0) & (jnp.arange(trajectories.tokens.shape[0]) % 2 == 1)


def again(models, state, plan, prompts, trajectories, key):
  """A second phase of a round's responses, as a second turn would be: sees the round's own rows, scored."""
  assert trajectories.tokens.shape[0] == PROMPTS * GROUP
  rows = trajectories.with_extras(seen=trajectories.prompt_ids + 100 * trajectories.scored)
  return PhaseResult(state, rows, nothing_new(rows), jnp.int32(0))


@functools.cache
def program():
  """Ids of a plan -> (result of the rollout, all rows before the last phase chooses)."""
  experiment = small.make_experiment("num_seeds=1")
  task = experiment.task
  policy = BoundModel(experiment.models["policy"], small.make_seed(experiment).models["policy"].params)
  respond = Rollout((*flat(task, GROUP, Sampling()).phases, again))
  *sampled, select = dynamic_sampling(respond, GROUP, keep, ROUNDS).phases

  def noted(models, state, plan, prompts, trajectories, key):
    return select(models, state, plan, prompts, trajectories, key)._replace(state=trajectories)

  def run(ids):
    rows = ROUNDS * PROMPTS * GROUP
    plan = Plan(ids, jnp.ones(rows, bool), jnp.full(rows, 5))
    rollout = Rollout((*sampled, noted))
    result = collected(rollout, {"policy": policy}, (), plan, task, jax.random.key(1))
    return result, result.state

  return jax.jit(run)


@pytest.mark.parametrize(
  ("ids", "asked", "sampled_rounds", "chosen", "kept"),
  [
    ([2, 4, 6, 8, 10, 12], [2, 4], 1, [2, 4], 2),  # the first round is enough
    ([1, 2, 4, 6, 8, 9], [1, 2, 4], 2, [2, 4], 2),  # one is missing: the second round asks one
    ([1, 2, 3, 5, 4, 7], [1, 2, 3, 4], 3, [2, 4], 2),
    ([1, 3, 5, 2, 7, 9], [1, 3, 5, 2, 7], 3, [2, 1], 1),  # too few: the rest is masked
    ([1, 3, 5, 7, 9, 11], [1, 3, 5, 7, 9, 11], 3, [1, 3], 0),
  ],
)
def test_the_first_groups_that_are_kept_are_chosen(ids, asked, sampled_rounds, chosen, kept):
  result, rows = program()(jnp.array(ids))
  got = result.trajectories
  np.testing.assert_array_equal(rows.prompt_ids, np.repeat(ids, GROUP))
  np.testing.assert_array_equal(rows.row_mask, np.isin(rows.prompt_ids, asked))
  np.testing.assert_array_equal(rows.verified, rows.row_mask)
  assert (rows.loss_mask.any(axis=1) == rows.row_mask).all(), "a prompt that is not asked samples nothing"
  np.testing.assert_array_equal(got.prompt_ids, np.repeat(chosen, GROUP))
  np.testing.assert_array_equal(got.row_mask, np.arange(4) < min(kept, PROMPTS) * GROUP)
  np.testing.assert_array_equal(got.scored, got.row_mask)
  assert len(set(rows.group_ids.tolist())) == 6 and len(set(got.group_ids.tolist())) == 2
  assert result.generated_tokens == rows.loss_mask.sum()
  np.testing.assert_array_equal(rows.extras["seen"], rows.prompt_ids + 100 * rows.row_mask)
  assert result.metrics.keys() == {"rounds", "kept"}
  assert result.metrics["rounds"].value == sampled_rounds
  np.testing.assert_allclose(result.metrics["kept"].value, kept / len(asked))


def test_rows_are_chosen_whole():
  """Each row is one of the rows before, with all that is known of it."""
  result, rows = program()(jnp.array([1, 2, 3, 5, 4, 7]))
  got = result.trajectories
  source = [2, 3, 8, 9]
  for name in ("tokens", "attention_mask", "old_logprobs", "rewards", "step_ids", "group_ids", "truncated"):
    np.testing.assert_array_equal(getattr(got, name), getattr(rows, name)[jnp.array(source)], err_msg=name)


def test_sizes_that_do_not_fit_are_errors():
  with pytest.raises(ValueError, match="max_rounds is at least 1, got 0"):
    dynamic_sampling(flat(None, 2, Sampling()), 2, keep, 0)
  with pytest.raises(ValueError, match="a plan of 4 prompts does not divide into 3 rounds"):
    jax.eval_shape(program(), jax.ShapeDtypeStruct((4,), jnp.int32))


def test_metrics_of_several_phases_add_up():
  mean = lambda total, weight: Mean(jnp.float32(total), jnp.float32(weight))
  joined = joined_metrics({"a": mean(1, 2), "b": mean(5, 1)}, {"a": mean(3, 2)})
  assert float(joined["a"].value) == 1.0 and float(joined["b"].value) == 5.0
