"""The task that an environment makes: episodes by hand, phase by phase, values, rewards on turns, garbage."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import ppo
from rl_jax.rollouts.rollout import judged
from rl_jax.rollouts.turns import in_turns
from rl_jax.tasks.environments.enumeration import every_episode
from rl_jax.tasks.environments.environment import as_task
from rl_jax.trajectories import Trajectories
from tests.tasks.environments import counting
from tests.tasks.environments.episodes import ROWS, padded, spoiled, told, written


def expected(prompts, episodes):
  """What is missing to the target, in tenths, at every state."""
  return (prompts.metadata["to"][:, None] - episodes.states) / 10


@functools.cache
def built():
  task = as_task(counting.environment(expected_rewards=expected, prover_rewards=lambda p, e, g: g * expected(p, e)))
  return task, jax.jit(task.verify), jax.jit(task.step_values)


def prompts():
  """The target is 7 in every row."""
  return counting.prompts(jnp.full(ROWS, 2), "train")


# Hand-computed.


def test_episodes_by_hand():
  task, verify, _ = built()
  rows = ["3."], ["3.", "4."], ["3.", "9."], ["1.", "1.", "1."], ["3.", "44", "4."], []
  verdicts = padded(verify, prompts(), task, *rows)
  assert told(task, verdicts) == [("3", False), ("", True), ("", True), ("", True), ("", True), ("", True)]
  np.testing.assert_allclose(verdicts.rewards, [0.3, 0.7, 1.2, 0.3, 0.3, 0], atol=1e-6)
  assert verdicts.reward_mask.all()
  extras = verdicts.extras
  assert extras["correct"].tolist() == [False, True, False, False, False, False]
  np.testing.assert_allclose(
    extras["turn_rewards"], [[0.3, 0, 0], [0.3, 0.4, 0], [0.3, 0.9, 0], [0.1] * 3, [0.3, 0, 0], [0] * 3], atol=1e-6
  )
  ids = [[0, 3, -1, -1], [0, 3, 7, -1], [0, 3, 12, -1], [0, 1, 2, 3], [0, 3, 3, -1], [0, -1, -1, -1]]
  np.testing.assert_array_equal(extras["state_ids"], ids)
  np.testing.assert_array_equal(
    extras["digits"], [[3, -1, -1], [3, 4, -1], [3, 9, -1], [1, 1, 1], [3, 0, -1], [-1] * 3]
  )
  np.testing.assert_array_equal(extras["good"][4], [True, False, False])


def test_states_without_ids_are_not_provided():
  """So a method that compares states is refused, instead of finding no two that are equal."""
  unnamed = dataclasses.replace(counting.environment(expected_rewards=expected), state_id=None)
  task = as_task(unnamed)
  assert "state_ids" not in task.provides and "state_ids" in built()[0].provides
  assert "state_ids" not in padded(jax.jit(task.verify), prompts(), task, *[["3."]] * ROWS).extras
  with pytest.raises(ValueError, match="this environment has no state_id"):
    every_episode(unnamed, counting.prompts(jnp.full(1, 2), "train"), [[3]])


def test_a_reward_is_on_the_last_token_of_its_turn():
  task, verify, _ = built()
  verdicts = padded(verify, prompts(), task, ["3.", "4."], ["3.", "44"])
  np.testing.assert_allclose(
    verdicts.token_rewards, [[0, 0.3, 0, 0, 0, 0, 0.4, 0, 0, 0, 0, 0, 0], [0, 0.3, *[0] * 11]], atol=1e-6
  )
  steps = [[0, 0, -1, -1, -1, 1, 1, -1, -1, -1, -1, -1, -1]] * 2
  np.testing.assert_array_equal(verdicts.step_ids, steps)


def test_values_by_hand():
  """Earned and expected: 0.7 in all, as long as the episode is not over."""
  task, _, values = built()
  rows = ["3.", "4."], ["3.", "44"], ["1."], ["1."], ["3.", "44"]
  tokens, mask = written(task, *rows)
  finished = jnp.array([True, True, True, False, False, True])
  found = padded(values, prompts(), task, *rows, extra=[finished])
  of_turns = lambda x: np.asarray(x)[:, task.turns.slots[:, 0]]
  before = [[0.7, 0.7, 0]] * 2 + [[0.7, 0, 0]] * 2 + [[0.7, 0.7, 0]]
  after = [[0.7, 0.7, 0], [0.7, 0.3, 0], [0.1, 0, 0], [0.7, 0, 0], [0.7, 0.7, 0]]
  np.testing.assert_allclose(of_turns(found.before), before, atol=1e-6)
  np.testing.assert_allclose(of_turns(found.after), after, atol=1e-6)
  outside = ~(mask & ~task.turns.observed)
  assert not np.asarray(found.before)[outside].any() and not np.asarray(found.after)[outside].any()
  prover = padded(jax.jit(task.prover_values), prompts(), task, *rows, extra=[0.5])
  np.testing.assert_allclose(of_turns(prover.before)[2], [0.35, 0, 0], atol=1e-6)
  np.testing.assert_allclose(of_turns(prover.after)[:3], [[0.5, 0.7, 0], [0.5, 0.3, 0], [0.4, 0, 0]], atol=1e-6)


# Invariances.


@functools.cache
def demonstrated():
  task, verify, _ = built()
  problems = counting.prompts(jnp.arange(64), "train")
  tokens, mask = jax.jit(task.demonstrate)(jax.random.key(0), problems)
  return task, verify, problems, np.asarray(tokens), np.asarray(mask)


def test_the_phases_of_a_rollout_see_the_episode_that_is_verified_as_a_whole():
  """A turn is answered as it was recorded, whatever comes after it, and the parts add up."""
  task, verify, problems, tokens, mask = demonstrated()
  whole = jax.device_get(verify(problems, tokens, mask))
  layout = task.turns
  for turn in range(1, layout.max_turns):
    start = layout.start(turn)
    before = verify(problems, tokens, mask & (np.arange(mask.shape[1]) < start))
    continues = mask[:, start]
    slots = np.arange(start - layout.observation_tokens, start)
    assert continues.any() and not np.asarray(before.extras["done"])[continues].any()
    np.testing.assert_array_equal(before.extras["observation_mask"], mask[:, slots])
    shown = mask[:, slots]
    np.testing.assert_array_equal(np.asarray(before.extras["observation"])[shown], tokens[:, slots][shown])
    np.testing.assert_allclose(before.rewards, whole.extras["turn_rewards"][:, :turn].sum(axis=1), atol=1e-6)
  assert whole.extras["done"].all() and 0 < whole.extras["correct"].mean() < 1


def test_the_observations_that_are_recorded_and_what_is_not_masked_are_not_read():
  task, verify, problems, tokens, mask = demonstrated()
  rng = np.random.default_rng(0)
  other = np.where(mask & ~task.turns.observed, tokens, rng.choice([-3, 5, 10_000], tokens.shape)).astype(np.int32)
  jax.tree.map(np.testing.assert_array_equal, verify(problems, tokens, mask), verify(problems, other, mask))


def test_garbage_is_finite_and_rows_stand_alone():
  task, verify, problems, tokens, mask = demonstrated()
  tokens, mask = spoiled(task, tokens, mask, np.random.default_rng(1))
  found = jax.device_get(verify(problems, tokens, mask))
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(found))
  order = np.random.default_rng(2).permutation(len(tokens))
  take = lambda tree: jax.tree.map(lambda x: x[order], tree)
  jax.tree.map(np.testing.assert_array_equal, take(found), verify(take(problems), tokens[order], mask[order]))


def test_rewards_reach_the_batch_and_ppo():
  """A method with token rewards has each turn's on its last token; what is not asked keeps what it had."""
  task, verify, _ = built()
  tokens, mask = written(task, ["3.", "4."], ["3.", "9."], *[["3."]] * (ROWS - 2))
  width = task.prompt_tokens
  wide = lambda x: jnp.pad(jnp.asarray(x), ((0, 0), (width, 0)))
  batch = Trajectories.empty(ROWS, tokens.shape[1] + width, width).replace(
    tokens=wide(tokens), attention_mask=wide(mask), loss_mask=wide(mask), row_mask=jnp.ones(ROWS, bool)
  )
  levels, asked = jnp.zeros(ROWS, jnp.int32), jnp.arange(ROWS) < 2
  rows = judged(in_turns(batch, task.turns), verify(prompts(), tokens, mask), levels, asked, task.provides)
  of_tokens = np.asarray(ppo.token_rewards(rows))
  slots = width + task.turns.slots
  np.testing.assert_allclose(of_tokens[:, slots].sum(axis=2), [[0.3, 0.4, 0], [0.3, 0.9, 0], *[[0] * 3] * 4], atol=1e-6)
  np.testing.assert_allclose(of_tokens[:2, slots[:, 1]], [[0.3, 0.4, 0], [0.3, 0.9, 0]], atol=1e-6)
  np.testing.assert_allclose(of_tokens.sum(axis=1), rows.rewards, atol=1e-6)
  assert rows.correct.tolist() == [True, *[False] * 5], "a reward above 1 is no solution"


def test_a_response_of_another_width_is_one_line():
  task, *_ = built()
  with pytest.raises(ValueError, match="a response of 3 turns has 13 slots, got 6"):
    task.verify(prompts(), jnp.zeros((1, 6), jnp.int32), jnp.ones((1, 6), bool))
