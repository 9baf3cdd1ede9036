"""Windows of responses: the schedule, every token trained once, logprobs that stay, and the plain rollout as a case."""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.partial import partial_rollouts
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling
from rl_jax.trajectories import POLICY, REPLAY
from tests.rollouts.collecting import collected
from tests.training import small

GOLDENS = Path(__file__).parents[1] / "goldens/tppo.json"
SLOTS = 3


@functools.cache
def parts(endless=False):
  experiment = small.make_experiment("num_seeds=1")
  policy = BoundModel(experiment.models["policy"], small.make_seed(experiment).models["policy"].params)
  task = experiment.task
  never = types.SimpleNamespace(end_id=-1, pad_id=0)
  return policy, dataclasses.replace(task, vocabulary=never) if endless else task


@functools.cache
def stepper(window, endless=False):
  """(state, ids, limits, key) -> RolloutResult, and the first state."""
  policy, task = parts(endless)
  rollout = partial_rollouts(SLOTS, window, task, Sampling())

  def step(state, ids, limits, key):
    plan = Plan(ids, limits > 0, limits)
    return collected(rollout, {"policy": policy}, state, plan, task, key)

  return jax.jit(step), rollout.init(jax.random.key(0))


@functools.cache
def iterations(count=6, window=4):
  """Results of some iterations of an untrained policy, which ends now and then; plans cut at 12, 5 and 9."""
  step, state = stepper(window)
  task, results = parts()[1], []
  for number in range(count):
    ids, limits = 10 * number + jnp.arange(SLOTS), jnp.array([task.response_tokens, 5, 9])
    results.append(jax.device_get(step(state, ids, limits, jax.random.key(number))))
    state = results[-1].state
  return results


def batches():
  return [result.trajectories for result in iterations()]


def test_the_schedule_is_that_of_the_golden():
  case = next(c for c in json.loads(GOLDENS.read_text()) if c["name"] == "successive_batching")
  lengths, cap = case["inputs"]["total_lengths"], case["inputs"]["max_len"]
  assert (case["inputs"]["batch_size"], case["inputs"]["window"]) == (SLOTS, 4)
  step, state = stepper(4, endless=True)
  task = parts()[1]
  taken, written, waited, found = 0, np.zeros(SLOTS, int), 0, []
  for number in range(case["outputs"]["n_steps"]):
    ids = np.arange(taken, taken + SLOTS)
    limits = np.array([min(lengths[i], cap) if i < len(lengths) else 0 for i in ids])
    free = np.asarray(state.free)
    taken, written = taken + free.sum(), np.where(free, 0, written)
    result = step(state, jnp.asarray(ids), jnp.asarray(limits), jax.random.key(number))
    state, rows = result.state, result.trajectories
    new = np.asarray(rows.loss_mask.sum(axis=1))
    done = zip(rows.prompt_ids.tolist(), written, written + new, ~rows.unfinished, strict=True)
    found.append(sorted((int(p), int(s), int(e), bool(f)) for p, s, e, f in done))
    written = written + new
    waited += int(new.max())
    assert result.generated_tokens == new.sum()
    np.testing.assert_array_equal(rows.attention_mask[:, task.prompt_tokens :].sum(axis=1), written)
  assert found == [sorted(tuple(row.values()) for row in step) for step in case["outputs"]["steps"]]
  assert waited == case["outputs"]["tppo_sequential_tokens"] and bool(state.free.all())


def test_staggered_slots_begin_apart_and_go_on_in_windows():
  """Three slots of responses of R tokens that never end: 1, 1 + R / 3 and 1 + 2 R / 3 at first, then windows of 4."""
  policy, task = parts(endless=True)
  rollout = partial_rollouts(SLOTS, 4, task, Sampling(), staggered=True)
  room, state, lengths = task.response_tokens, rollout.init(jax.random.key(0)), []
  step = jax.jit(lambda state, plan, key: collected(rollout, {"policy": policy}, state, plan, task, key))
  for number in range(2):
    plan = Plan(SLOTS * number + np.arange(SLOTS), np.ones(SLOTS, bool), np.full(SLOTS, room))
    result = jax.device_get(step(state, plan, jax.random.key(number)))
    state = result.state
    lengths.append(result.trajectories.loss_mask.sum(axis=1))
  np.testing.assert_array_equal(lengths[0], 1 + np.arange(SLOTS) * room // SLOTS)
  np.testing.assert_array_equal(lengths[1], np.minimum(4, room - lengths[0]))


def test_every_token_of_a_response_is_trained_once():
  """Over the windows of a response the trained tokens add up to its tokens, each with the logprob of its window."""
  first = batches()[0]
  finished, trained, logprobs = 0, np.zeros_like(first.loss_mask), 0 * first.old_logprobs
  for rows, result in zip(batches(), iterations(), strict=True):
    assert not (rows.loss_mask & trained).any()
    trained = trained | rows.loss_mask
    logprobs = np.where(rows.loss_mask, rows.old_logprobs, logprobs)
    np.testing.assert_array_equal(rows.extras["response_mask"], trained)
    np.testing.assert_array_equal(np.where(trained, rows.old_logprobs, 0), logprobs)
    np.testing.assert_array_equal(np.where(trained, rows.source_ids, POLICY) == REPLAY, trained & ~rows.loss_mask)
    np.testing.assert_array_equal(rows.reward_mask, ~rows.unfinished)
    finished_share = result.metrics["finished"]
    assert (finished_share.sum, finished_share.weight) == ((~rows.unfinished).sum(), SLOTS)
    assert ((rows.loss_mask.sum(axis=1) == 4) | ~rows.unfinished).all()
    end = parts()[1].vocabulary.end_id
    ends = ((rows.tokens == end) & rows.loss_mask).any(axis=1)
    np.testing.assert_array_equal(~rows.unfinished & ~rows.truncated, ends)
    finished += (~rows.unfinished).sum()
    trained, logprobs = trained & rows.unfinished[:, None], logprobs * rows.unfinished[:, None]
  assert finished >= SLOTS and any((~r.unfinished).any() and r.unfinished.any() for r in batches())


def test_logprobs_are_those_of_the_whole_sequence():
  policy, _ = parts()
  outputs = jax.jit(policy.model.outputs)
  for rows in batches():
    again = outputs(policy.params, rows)
    mask = rows.extras["response_mask"]
    np.testing.assert_allclose(np.where(mask, rows.old_logprobs, 0), np.where(mask, again["logprobs"], 0), atol=1e-5)


def test_slots_that_go_on_keep_their_problem_and_others_take_the_plans_in_order():
  before = None
  for number, rows in enumerate(batches()):
    free = np.ones(SLOTS, bool) if before is None else ~before.unfinished
    taken = 10 * number + np.arange(free.sum())
    np.testing.assert_array_equal(rows.prompt_ids[free], taken)
    if before is not None:
      np.testing.assert_array_equal(rows.prompt_ids[~free], before.prompt_ids[~free])
      np.testing.assert_array_equal(rows.group_ids[~free], before.group_ids[~free])
    assert len(set(rows.group_ids.tolist())) == SLOTS
    before = rows


def test_a_window_as_long_as_the_response_is_the_flat_rollout():
  policy, task = parts()
  step, state = stepper(task.response_tokens)
  ids, limits, key = jnp.arange(SLOTS), jnp.full(SLOTS, task.response_tokens), jax.random.key(7)
  result = step(state, ids, limits, key)
  state, got = result.state, result.trajectories
  plan = Plan(ids, limits > 0, limits)
  plain = lambda key: collected(flat(task, 1, Sampling()), {"policy": policy}, (), plan, task, key)
  want = jax.jit(plain)(key).trajectories
  assert state.free.all() and not got.unfinished.any()
  for name in ("attention_mask", "loss_mask", "step_ids", "rewards", "reward_mask", "truncated", "prompt_ids"):
    np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)
  for name in ("tokens", "old_logprobs", "source_ids", "positions"):
    one, other = (np.where(want.attention_mask, getattr(x, name), 0) for x in (got, want))
    np.testing.assert_allclose(one, other, atol=1e-5, err_msg=name)


def test_sizes_that_do_not_fit_are_errors():
  with pytest.raises(ValueError, match="a window has at least 1 token, got 0"):
    partial_rollouts(SLOTS, 0, parts()[1], Sampling())
  step, state = stepper(4)
  two = jax.ShapeDtypeStruct((2,), jnp.int32)
  with pytest.raises(ValueError, match="a plan of 2 rows does not match 3 slots"):
    jax.eval_shape(step, state, two, two, jax.random.key(0))
