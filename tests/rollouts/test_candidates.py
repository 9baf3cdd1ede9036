"""Candidates of every turn: who is committed to, and that a row is the committed text and a turn of its own."""

from __future__ import annotations

import functools

import jax
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.advantages.candidates import slate
from rl_jax.launching import initialization
from rl_jax.rollouts.candidates import candidates, commit
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks import chain
from rl_jax.trajectories import POLICY, PROMPT, TOOL
from tests.commands import SMALL
from tests.methods.batches import batch_of
from tests.methods.two_iterations import even
from tests.rollouts.collecting import collected
from tests.training import small

PROMPTS, COUNT, TURNS = 6, 3, 3
ROWS = PROMPTS * COUNT
OVERRIDES = (
  *(field for field in SMALL if not field.startswith("task.")),
  f"task.levels={{'three': {{'decisions': {TURNS}}}}}",
  "init_from=",
  "num_seeds=1",
)


# Hand-computed.


def test_the_best_candidate_is_committed_to_without_temperature():
  """The first of the best two, the only one that is scored, and any where none is."""
  rows = batch_of(np.ones((9, 1)), group_ids=np.repeat([7, -1, 3], 3), reward_mask=np.arange(9) % 9 < 4)
  take = jax.jit(lambda advantages: commit(rows, advantages, 3, jax.random.key(0), temperature=0.0))
  chosen = np.asarray(take(np.array([0, 1, 1, -1, 9, 9, 0, 0, 0], np.float32)))
  assert chosen[:2].tolist() == [1, 3] and 6 <= chosen[2] < 9


def test_others_are_committed_to_as_often_as_their_advantage_says():
  rows = batch_of(np.ones((3, 1)), group_ids=np.zeros(3, int))
  advantages = np.array([1.0, 0.0, -1.0], np.float32)
  draw = jax.vmap(lambda key: commit(rows, advantages, 3, key, temperature=0.7)[0])
  counts = np.bincount(jax.jit(lambda key: draw(jax.random.split(key, 4000)))(jax.random.key(0)), minlength=3)
  np.testing.assert_allclose(counts / 4000, np.exp(advantages / 0.7) / np.exp(advantages / 0.7).sum(), atol=0.03)


# Through a policy.


@functools.cache
def program(temperature):
  experiment = initialization.build(configs.resolve("experiments/slate.py:smoke", OVERRIDES))
  task, model = even(experiment.task), experiment.models["policy"]
  policy = BoundModel(model, small.make_seed(experiment).models["policy"].params)
  stops = Sampling(stop_sequences=tuple((token,) for token in range(2, 10)))  # an untrained policy ends few turns
  advantages = lambda rows: slate(rows.rewards, rows.group_ids, rows.scored)
  rollout = candidates(task, COUNT, advantages, temperature=temperature, sampling=stops)
  run = lambda plan, key: collected(rollout, {"policy": policy}, (), plan, task, key)
  return task, jax.jit(run)


def rolled(temperature=0.0, limit=100):
  task, run = program(temperature)
  plan = Plan(np.arange(PROMPTS), np.arange(ROWS) >= COUNT, np.full(ROWS, limit))
  result = jax.device_get(run(plan, jax.random.key(1)))
  assert result.generated_tokens == result.trajectories.trained.sum()
  return task, result.trajectories


def text(rows, row):
  """Tokens of a row before its own turn, with the slots that hold them."""
  before = rows.attention_mask[row] & ~rows.loss_mask[row]
  return list(zip(np.flatnonzero(before), rows.tokens[row][before], strict=True))


def test_a_prefix_is_the_best_candidate_of_the_turn_before_and_its_answer():
  task, rows = rolled()
  layout, width = task.turns, task.prompt_tokens
  assert rows.tokens.shape[0] == TURNS * ROWS and not rows.row_mask[:COUNT].any(), "a prompt out of use stays so"
  of_turns = rows.row_mask.reshape(TURNS, PROMPTS, COUNT)
  assert (of_turns == of_turns[..., :1]).all() and of_turns[2].any() and not of_turns[1].all()
  np.testing.assert_array_equal(rows.group_ids, np.arange(TURNS * ROWS) // COUNT)
  for turn in range(1, TURNS):
    for prompt in range(PROMPTS):
      first, above = turn * ROWS + prompt * COUNT, (turn - 1) * ROWS + prompt * COUNT
      best = above + int(np.argmax(rows.rewards[above : above + COUNT]))
      goes_on = rows.row_mask[best] and not rows.truncated[best] and not rows.extras["done"][best]
      assert rows.row_mask[first] == goes_on
      if not goes_on:
        continue
      own, start = rows.attention_mask[best], width + layout.start(turn)
      answer = rows.extras["observation"][best][rows.extras["observation_mask"][best]]
      committed = list(zip(np.flatnonzero(own), rows.tokens[best][own], strict=True))
      answered = list(zip(range(start - len(answer), start), answer, strict=True))
      for row in range(first, first + COUNT):
        assert text(rows, row) == committed + answered
        assert rows.prompt_ids[row] == rows.prompt_ids[best]
        np.testing.assert_array_equal(rows.old_logprobs[row][own], rows.old_logprobs[best][own])


def test_a_row_is_trained_on_its_own_turn():
  task, rows = rolled()
  layout, width = task.turns, task.prompt_tokens
  own = np.pad(~layout.observed, (width, 0)) & (rows.turn_ids == rows.extras["turns"][:, None])
  own[:, :width] = False
  used = rows.row_mask
  np.testing.assert_array_equal(rows.loss_mask[used], (rows.attention_mask & own)[used])
  assert rows.loss_mask[used].any(axis=1).all() and (rows.old_logprobs[rows.trained] < 0).all()
  sources = np.where(np.pad(layout.observed, (width, 0)), TOOL, np.where(own, POLICY, PROMPT))
  there = rows.attention_mask & used[:, None]
  np.testing.assert_array_equal(rows.source_ids[there], sources[there])
  np.testing.assert_array_equal(rows.scored, used)


def test_rows_share_what_their_trees_say():
  task, rows = rolled()
  assert [tree.rows for tree in rows.trees] == [ROWS] * TURNS
  for turn, tree in enumerate(rows.trees):
    assert tree.children == (COUNT,) and tree.starts == (task.prompt_tokens + task.turns.start(turn),)
    part = slice(turn * ROWS, (turn + 1) * ROWS)
    shared = np.where(rows.attention_mask, rows.tokens, -1)[part, : tree.starts[0]].reshape(PROMPTS, COUNT, -1)
    assert (shared == shared[:, :1]).all()


def test_a_limit_counts_the_tokens_of_committed_turns():
  task, rows = rolled(limit=4)
  written = (rows.attention_mask[:, task.prompt_tokens :] & ~task.turns.observed).sum(axis=1)
  assert written[rows.row_mask].max() == 4
  np.testing.assert_array_equal(rows.row_mask[:ROWS], rolled()[1].row_mask[:ROWS])


# Edge cases.


def test_a_task_without_turns_is_refused():
  with pytest.raises(ValueError, match="this task has no turns"):
    candidates(chain.build({}), 2, lambda rows: rows.rewards, temperature=0.0, sampling=Sampling())
