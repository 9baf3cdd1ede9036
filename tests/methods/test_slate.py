"""SLATE: the spec's worked example, its claim on variance by enumeration, its gradient, a bait, and two iterations."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.kernels.reductions import group_deviations
from rl_jax.launching import initialization
from rl_jax.methods import grpo, slate
from rl_jax.methods.method import check_options
from rl_jax.rollouts import turns
from rl_jax.tasks.environments import decisions
from rl_jax.tasks.task import Turns
from rl_jax.training import iteration, mesh
from rl_jax.training.trainer import Trainer
from tests.methods.batches import batch_of, config_of
from tests.methods.counting import counted
from tests.methods.two_iterations import Done, assert_whole, even
from tests.rollouts.test_candidates import OVERRIDES

LAYOUT = Turns(max_turns=4, turn_tokens=2, observation_tokens=1)
TASK: Any = types.SimpleNamespace(response_tokens=11, prompt_tokens=1, turns=LAYOUT)
RNG = np.random.default_rng(0)


def batch(rewards, correct=None, **fields):
  """Rows of two tokens, candidates of one prefix at its first turn."""
  rewards = np.asarray(rewards, np.float32)
  rows = len(rewards)
  extras = {"turns": np.zeros(rows, np.int32), "correct": np.zeros(rows, bool) if correct is None else correct}
  given = {"rewards": rewards, "group_ids": np.full(rows, 7), "extras": extras | fields.pop("extras", {})}
  return batch_of(fields.pop("mask", np.ones((rows, 2), bool)), **given | fields)


def signal_of(trajectories, **options):
  return slate.build(config_of(slate, **options), TASK).signal(trajectories, jnp.int32(0))


def advantages_of(trajectories, **options):
  targets = signal_of(trajectories, **options).streams["policy"].targets
  np.testing.assert_array_equal(targets[:, 0], targets[:, 1])
  return np.asarray(targets)[:, 0]


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """The fourth candidate and the fifth answer at once; the paper's bonus does not ask whether they are right."""
  rows = batch([2, 1, -1, 2, -1], np.array([False, False, False, True, True]))
  wanted = [0.90449428, 0.24427948, -1.07615013, 0.95401039, -1.02663402]
  np.testing.assert_allclose(advantages_of(rows), wanted, rtol=1e-5)
  later = rows.replace(extras=rows.extras | {"turns": jnp.full(5, 3)})
  np.testing.assert_allclose(advantages_of(later), advantages_of(rows, early_bonus=0.0), rtol=1e-5)


def test_visited_steps_are_counted_once():
  """Three of the first prompt, one of the second, whose rows of later steps are not in use."""
  steps, ids = np.array([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]), np.arange(12) // 2
  in_use = np.array([1, 1, 1, 1, 1, 1, 0, 0, 1, 1, 0, 0], bool)
  rows = batch(RNG.random(12), group_ids=ids, row_mask=in_use, extras={"turns": steps})
  found = signal_of(rows).metrics["steps_per_prompt"]
  assert (float(found.sum), float(found.weight)) == (4.0, 2.0)


# The claim.


LEVELS = {"two": {"decisions": 2}, "four": {"decisions": 4}, "eight": {"decisions": 8}}
ROWS = 256


@functools.cache
def built():
  task = decisions.build({"levels": LEVELS, "bait": 1.5})
  return task, jax.jit(task.verify)


def episodes(count, patterns):
  """Rewards of episodes, and of their turns, which are digits, or "$" for the bait; all operands are 0."""
  task, verify = built()
  tokens = np.zeros((ROWS, task.response_tokens), np.int32)
  mask = np.zeros(tokens.shape, bool)
  for row, pattern in enumerate(patterns):
    for turn, symbol in enumerate(pattern):
      slots = task.turns.start(turn) + np.arange(2)
      tokens[row, slots], mask[row, slots] = [*task.vocabulary.encode(symbol), task.vocabulary.end_id], True
  prompts = task.prompts(jnp.zeros(ROWS, jnp.int32), "train")
  metadata = {"decisions": jnp.full(ROWS, count), "operands": jnp.zeros_like(prompts.metadata["operands"])}
  verdicts = jax.device_get(verify(prompts.replace(metadata=metadata), tokens, mask))
  return verdicts.rewards[: len(patterns)], verdicts.extras["turn_rewards"][: len(patterns), :count]


@pytest.mark.parametrize("count", [2, 4, 8])
def test_whole_episodes_have_as_many_times_the_variance_as_there_are_decisions(count):
  """And the same mean, given what was decided: over all pairs of episodes, each decision right 3 times in 10."""
  patterns = list(itertools.product("01", repeat=count))
  rewards, turn_rewards = episodes(count, patterns)
  right = np.array([[symbol == "0" for symbol in pattern] for pattern in patterns])
  np.testing.assert_allclose(turn_rewards, right / count, rtol=1e-6)
  chances = np.where(right, 0.3, 0.7).prod(axis=1)
  pairs = np.stack(np.meshgrid(*[np.arange(len(patterns))] * 2, indexing="ij"), axis=-1).reshape(-1, 2)
  weights = np.repeat(chances[pairs].prod(axis=1), 2)
  ids, rows = np.repeat(np.arange(len(pairs)), 2), pairs.ravel()
  deviations = jax.jit(lambda x, ids: group_deviations(x, ids, jnp.ones(x.shape, bool)))
  whole, step = (np.asarray(deviations(x[rows], ids), np.float64) for x in (rewards, turn_rewards[:, 0]))
  variance = lambda x: (weights * np.square(x)).sum() / weights.sum()
  np.testing.assert_allclose(variance(whole) / variance(step), count, rtol=1e-4)
  for decided in (True, False):
    of_these = weights * (right[rows, 0] == decided)
    np.testing.assert_allclose((of_these * whole).sum(), (of_these * step).sum(), atol=1e-6)


def test_a_bait_is_preferred_though_it_costs_more_than_it_earns():
  steps, _ = episodes(4, ["0", "1", "$"])
  found = advantages_of(batch(steps))
  assert found[2] > found[0] > 0 > found[1]
  whole, _ = episodes(4, ["0000", "1000", "$000"])
  assert whole[0] > whole[1] > whole[2]


# Gradient.


def test_the_gradient_is_that_of_its_equation():
  """Ragged candidates of two prefixes, ratios on both sides of the clip, a penalty; loops over rows and tokens."""
  mask = np.array([[1, 1, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]], bool)
  rewards = [1.0, 0.0, 0.2, 0.7]
  logprobs, old, ref = (RNG.normal(-1, 0.3, size=mask.shape) for _ in range(3))
  rows = batch(rewards, mask=mask, group_ids=np.array([3, 3, 9, 9])).replace(
    old_logprobs=jnp.asarray(old, jnp.float32), ref_logprobs=jnp.asarray(ref, jnp.float32)
  )
  method = slate.build(config_of(slate, kl_coefficient=0.5), TASK)
  streams = method.signal(rows, jnp.int32(0)).streams

  def total(x):
    outputs = {"policy": {"logprobs": x, "entropies": jnp.zeros(mask.shape)}}
    return sum(term.coefficient * term.mean.value for term in method.loss(outputs, rows, streams).terms.values())

  wanted = np.zeros(mask.shape)
  for group in ([0, 1], [2, 3]):
    of_group = np.array([rewards[row] for row in group])
    for row in group:
      advantage = (rewards[row] - of_group.mean()) / (of_group.std(ddof=1) + 1e-6)
      for t in np.flatnonzero(mask[row]):
        ratio = np.exp(logprobs[row, t] - old[row, t])
        clipped = ratio > 1.2 if advantage > 0 else ratio < 0.8
        one = (0.0 if clipped else -ratio * advantage) + 0.5 * (1 - np.exp(ref[row, t] - logprobs[row, t]))
        wanted[row, t] = one / mask[row].sum() / len(mask)
  np.testing.assert_allclose(jax.grad(total)(jnp.asarray(logprobs, jnp.float32)), wanted, rtol=1e-4, atol=1e-6)


# Invariances and reductions.


def test_the_order_of_rows_and_what_every_candidate_of_a_prefix_has_earned_before_do_not_matter():
  rewards, ids = RNG.random(6), np.array([3, 9, 3, 9, 3, 9])
  order = RNG.permutation(6)
  found = advantages_of(batch(rewards, group_ids=ids))
  np.testing.assert_allclose(advantages_of(batch(rewards[order], group_ids=ids[order])), found[order], atol=1e-6)
  np.testing.assert_allclose(advantages_of(batch(rewards + ids, group_ids=ids)), found, atol=1e-4)


def test_of_one_step_without_a_bonus_it_is_grpo():
  rows = batch(RNG.random(6), group_ids=np.array([3, 3, 3, 9, 9, 9]))
  own = grpo.build(config_of(grpo), TASK).signal(rows, jnp.int32(0)).streams["policy"]
  found = signal_of(rows, early_bonus=0.0).streams["policy"]
  np.testing.assert_allclose(found.targets, own.targets, atol=1e-6)
  np.testing.assert_array_equal(found.weights, own.weights)


# Edge cases.


def test_unscored_candidates_count_for_nothing():
  rows = batch([1, 0, np.nan], reward_mask=np.array([True, True, False]))
  stream = signal_of(rows).streams["policy"]
  np.testing.assert_allclose(stream.targets[:, 0], [np.sqrt(0.5), -np.sqrt(0.5), 0], rtol=1e-4)
  assert not stream.weights[2].any()


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    slate.build(config_of(slate), types.SimpleNamespace(response_tokens=4, turns=None))


@pytest.mark.parametrize(("option", "value"), [("commit_temperature", -1.0), ("epsilon", -1e-3)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(slate, **{option: value}), slate)


# Through the trainer.


@functools.cache
def trained() -> Done:
  """Two seeds; a digit ends a turn too, as an untrained policy seldom does."""
  stops = f"sampling.stop_sequences={tuple((token,) for token in range(2, 10))}"
  overrides = [*OVERRIDES, "num_seeds=2", "completions_per_prompt=3", stops]
  experiment = initialization.build(configs.resolve("experiments/slate.py:smoke", overrides))
  experiment = dataclasses.replace(experiment, task=even(experiment.task))
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  before = jax.device_get(trainer.state)
  with counted(turns) as counts, mesh.use(trainer.mesh, trainer.experiment.rules):
    trainer.loop.programs = {"run": jax.jit(lambda state: iteration.run(experiment, state))}
    metrics = trainer.advance().metrics
  return Done(trainer, before, metrics, sum(counts))


@pytest.mark.slow
def test_two_iterations_count_all_candidates_and_agree_with_the_sampler():
  done = trained()
  assert_whole(done)
  for metrics in done.metrics:
    assert ((2 < metrics["steps_per_prompt"]) & (metrics["steps_per_prompt"] < 3.01)).all()
