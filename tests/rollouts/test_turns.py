"""Episodes of several turns: the layout, gaps, what is trained on, when a row is over, and evaluation."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.curricula.curriculum import Plan
from rl_jax.launching import initialization
from rl_jax.models.model import Sequences
from rl_jax.rollouts import turns
from rl_jax.rollouts.demonstrations import demonstrations
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import SEED_AXIS, Sampling, positions_of, sample
from rl_jax.rollouts.turns import required_turns, responses, turn_hashes, turn_starts
from rl_jax.tasks import chain, lookup
from rl_jax.tasks.task import Turns
from rl_jax.training import evaluation
from rl_jax.trajectories import DEMONSTRATION, POLICY, PROMPT, TOOL
from tests.commands import SMALL
from tests.rollouts.collecting import collected
from tests.tasks import lenient_lookup
from tests.training import small

OVERRIDES = (
  *(field for field in SMALL if not field.startswith("task.")),
  f"task.name={lenient_lookup.__file__}",
  "task.levels={'one': {'hops': 1, 'keys': 4}}",
  "task.max_turns=3",
  "init_from=",
)
ROWS = 16


@functools.cache
def parts():
  experiment = initialization.build(configs.resolve("experiments/grpo_lookup.py:smoke", [*OVERRIDES, "num_seeds=1"]))
  seed = small.make_seed(experiment)
  return experiment, BoundModel(experiment.models["policy"], seed.models["policy"].params)


@functools.cache
def program():
  experiment, policy = parts()
  rollout = responses(experiment.task, 2, Sampling())
  return jax.jit(lambda plan, key: collected(rollout, {"policy": policy}, (), plan, experiment.task, key))


def rolled(limit=None):
  limits = jnp.full(ROWS, parts()[0].task.response_tokens if limit is None else limit)
  return jax.device_get(result(limits)).trajectories


def result(limits):
  return program()(Plan(jnp.arange(ROWS // 2), jnp.ones(ROWS, bool), limits), jax.random.key(3))


def test_the_slots_of_a_layout_by_hand():
  layout = Turns(max_turns=3, turn_tokens=2, observation_tokens=1)
  assert layout.response_tokens == 8 and [layout.start(turn) for turn in range(3)] == [0, 3, 6]
  np.testing.assert_array_equal(layout.slots, [[0, 1], [3, 4], [6, 7]])
  np.testing.assert_array_equal(layout.turn_ids, [0, 0, 0, 1, 1, 1, 2, 2])
  np.testing.assert_array_equal(layout.observed, [0, 0, 1, 0, 0, 1, 0, 0])


def test_an_episode_goes_on_until_it_is_over():
  """Turn k + 1 is there exactly where turn k was a question of a row that no limit has cut."""
  task, rows = parts()[0].task, rolled()
  layout, width = task.turns, task.prompt_tokens
  _, exists = turn_starts(task, rows)
  exists = np.asarray(exists)
  assert exists[:, 0].all() and exists[:, 1].any() and exists[:, 2].any() and not exists[:, 1].all()
  turns = rows.tokens[:, width:][:, layout.slots]
  asks = exists & (turns[..., 0] % 2 == 0)
  full = rows.attention_mask[:, width:][:, layout.slots].all(axis=2)
  full &= ~np.isin(turns[..., -1], [task.vocabulary.end_id, *np.ravel(layout.stop_sequences)])
  np.testing.assert_array_equal(exists[:, 1:], (asks & ~full)[:, :-1])
  np.testing.assert_array_equal(rows.truncated, (exists & full).any(axis=1))
  observed = rows.attention_mask[:, width:] & layout.observed
  np.testing.assert_array_equal(observed[:, layout.turn_tokens + np.arange(2)].any(axis=1), exists[:, 1])
  assert rows.extras["observation"].shape == (ROWS, 2), "an observation is not padded to the width of a row"


def test_whose_a_token_is():
  task, rows = parts()[0].task, rolled()
  layout, width = task.turns, task.prompt_tokens
  sources = [PROMPT] * width + np.where(layout.observed, TOOL, POLICY).tolist()
  np.testing.assert_array_equal(rows.source_ids, [sources] * ROWS)
  np.testing.assert_array_equal(rows.turn_ids, [[0] * width + layout.turn_ids.tolist()] * ROWS)
  of_policy = np.array(sources) == POLICY
  np.testing.assert_array_equal(rows.loss_mask, rows.attention_mask & of_policy)
  np.testing.assert_array_equal(rows.positions, positions_of(rows.attention_mask))
  assert not rows.old_logprobs[~rows.loss_mask].any() and (rows.old_logprobs[rows.loss_mask] < 0).all()
  assert result(jnp.full(ROWS, task.response_tokens)).generated_tokens == rows.loss_mask.sum()


def test_later_turns_run_each_prompt_once_and_no_later_slot(monkeypatch):
  experiment, policy = parts()
  task, asked = experiment.task, []
  monkeypatch.setattr(
    turns, "sample", lambda *inputs, **options: asked.append((inputs, options)) or sample(*inputs, **options)
  )
  rollout = responses(task, 2, Sampling())
  run = lambda plan, key: collected(rollout, {"policy": policy}, (), plan, task, key)
  jax.eval_shape(run, Plan(jnp.arange(ROWS // 2), jnp.ones(ROWS, bool), jnp.full(ROWS, 4)), jax.random.key(3))
  assert len(asked) == task.turns.max_turns == 3
  for turn, (inputs, options) in enumerate(asked[1:], start=1):
    assert inputs[2].shape == (ROWS, task.turns.start(turn))
    assert options["stems"].tokens.shape == (ROWS // 2, task.prompt_tokens)


def test_another_model_can_write_the_episodes():
  """And no other is asked."""
  experiment, writer = parts()
  rollout = responses(experiment.task, 2, Sampling(), by="teacher")
  plan = Plan(jnp.arange(ROWS // 2), jnp.ones(ROWS, bool), jnp.ones(ROWS, jnp.int32))
  collect = lambda plan: collected(rollout, {"teacher": writer}, (), plan, experiment.task, jax.random.key(0))
  assert jax.eval_shape(collect, plan).trajectories.tokens.shape[0] == ROWS


def test_an_observation_stands_right_before_the_turn_that_reads_it():
  task, rows = parts()[0].task, rolled()
  starts, exists = turn_starts(task, rows)
  known, lengths = task.vocabulary.encode(">!"), set()
  for row, turn in zip(*np.nonzero(np.asarray(exists)[:, 1:]), strict=True):
    slots = np.arange(int(starts[row, turn + 1]) - 2, int(starts[row, turn + 1]))
    mask = rows.attention_mask[row, slots]
    assert mask[1] and rows.tokens[row, slots][mask][0] in known
    lengths.add(int(mask.sum()))
  assert lengths == {1, 2}


def test_the_trainer_scores_the_same_rows_with_and_without_the_gaps():
  policy, rows = parts()[1], rolled()
  outputs = jax.jit(
    lambda tokens, mask: policy.model.outputs(policy.params, Sequences(tokens, positions_of(mask), mask))
  )
  together = np.argsort(~rows.attention_mask, axis=1, kind="stable")
  for order in (np.broadcast_to(np.arange(rows.tokens.shape[1]), together.shape), together):
    take = lambda x, order=order: np.take_along_axis(x, order, axis=1)
    found = outputs(take(rows.tokens), take(rows.attention_mask))["logprobs"]
    mine = take(rows.loss_mask)
    np.testing.assert_allclose(found[mine], take(rows.old_logprobs)[mine], atol=1e-5)


def test_a_limit_counts_the_policys_tokens_over_all_turns():
  free, cut = rolled(), rolled(limit=5)
  assert free.response_lengths.max() > 5 == cut.response_lengths.max()
  np.testing.assert_array_equal(cut.truncated, free.truncated | (free.response_lengths > 5))


def test_other_rows_do_not_change_an_episode():
  task = parts()[0].task
  limits = jnp.full(ROWS, task.response_tokens).at[8:].set(1)
  some = result(limits).trajectories
  np.testing.assert_array_equal(some.tokens[:8], rolled().tokens[:8])


def test_evaluation_plays_the_turns():
  experiment, _ = parts()
  seed = jax.tree.map(lambda x: x[None], small.make_seed(experiment))
  play = lambda seed: evaluation.answer_seed(experiment, seed, 0).sampled
  found = jax.jit(jax.vmap(play, axis_name=SEED_AXIS))(seed)
  assert found.lengths.max() > experiment.task.turns.turn_tokens
  assert found.correct.shape == (1, 4, 2)


@pytest.fixture(scope="module")
def taught():
  task = lookup.build({"levels": {"two": {"hops": 2}}, "stray_rate": 0.2, "guess_rate": 0.2})
  plan = Plan(jnp.arange(32), jnp.ones(32, bool), jnp.full(32, task.response_tokens))
  rows = jax.jit(lambda key: collected(demonstrations(task), {}, (), plan, task, key).trajectories)(jax.random.key(0))
  return task, jax.device_get(rows)


def test_demonstrations_of_turns_teach_the_policys_part(taught):
  task, rows = taught
  observed = np.pad(task.turns.observed, (task.prompt_tokens, 0))
  assert (rows.attention_mask & observed).any() and not (rows.loss_mask & observed).any()
  np.testing.assert_array_equal(rows.source_ids[:, observed], TOOL)
  np.testing.assert_array_equal(rows.source_ids[:, ~observed][:, task.prompt_tokens :], DEMONSTRATION)
  mine = ~observed & (np.arange(rows.tokens.shape[1]) >= task.prompt_tokens)
  np.testing.assert_array_equal(rows.loss_mask, rows.attention_mask & mine)
  assert 0.1 < rows.rewards.mean() < 0.9


def test_turns_have_one_hash_where_their_tokens_are_the_same(taught):
  """And another one elsewhere. Turns that are missing hash as empty ones."""
  task, rows = taught
  slots = task.prompt_tokens + task.turns.slots
  texts = np.where(rows.loss_mask, rows.tokens, -1)[:, slots].reshape(-1, slots.shape[1])
  hashes = np.asarray(turn_hashes(task, rows)).reshape(-1)
  pairs = {(*text, number) for text, number in zip(texts.tolist(), hashes.tolist(), strict=True)}
  assert len(set(map(tuple, texts.tolist()))) == len(set(hashes.tolist())) == len(pairs) > 10
  missing = (texts == -1).all(axis=1)
  assert missing.any() and (hashes[missing] == 0).all() and hashes[~missing].all()


def test_a_task_without_turns_is_named():
  with pytest.raises(ValueError, match="no turns: use one that has, such as the task of the method's experiment"):
    required_turns(chain.build({}))
