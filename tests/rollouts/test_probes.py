"""Probes: forced answers against plain rows of their own, boundaries by hand, what is counted."""

from __future__ import annotations

import dataclasses
import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.models.model import Sequences
from rl_jax.rollouts import probes
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.probes import probe, probed, step_ends
from rl_jax.rollouts.rollout import BoundModel
from rl_jax.rollouts.sampler import Sampling, positions_of
from rl_jax.tasks.task import ForcedAnswer
from tests.methods.batches import batch_of
from tests.methods.counting import counted
from tests.rollouts.collecting import collected
from tests.training import small

SAMPLES, TOKENS = 3, 2
ROWS = 8


@functools.cache
def parts():
  experiment = small.make_experiment("num_seeds=1")
  seed = small.make_seed(experiment)
  policy = BoundModel(experiment.models["policy"], seed.models["policy"].params)
  return experiment.task, policy, jax.device_get(small.make_trajectories(experiment, seed))


@functools.cache
def found():
  """Three boundaries a row: the bare prompt, after two tokens, and none."""
  task, policy, rows = parts()
  cuts = np.tile(task.prompt_tokens + np.array([0, 2, 1]), (ROWS, 1))
  mask = np.tile([True, True, False], (ROWS, 1))
  options = {"samples": SAMPLES, "max_tokens": TOKENS, "sampling": Sampling()}

  @jax.jit
  def run(rows, key):
    prompts = task.prompts(jnp.array([1, 0]), "train")  # the rows find theirs by its id
    return probe(policy, task, prompts, rows, cuts, mask, key, **options)

  return cuts, mask, jax.device_get(run(rows, jax.random.key(5)))


@functools.cache
def outputs():
  """(row of tokens without padding) -> outputs, in one shape."""
  _, policy, rows = parts()
  width = rows.tokens.shape[1] + 8
  run = jax.jit(lambda tokens, mask: policy.model.outputs(policy.params, Sequences(tokens, positions_of(mask), mask)))

  def of(tokens):
    padded = np.zeros((1, width), np.int32)
    padded[0, : len(tokens)] = tokens
    return {name: np.asarray(x[0]) for name, x in run(padded, np.arange(width)[None] < len(tokens)).items()}

  return of


def beginning(row, cut):
  rows, task = parts()[2], parts()[0]
  before = rows.tokens[row, :cut][rows.attention_mask[row, :cut]]
  return [*before, *task.forced_answer.opening]


def test_the_right_answer_is_scored_after_the_opening():
  task, _, rows = parts()
  cuts, mask, got = found()
  answers, answer_mask = jax.jit(lambda ids: task.forced_answer.answers(task.prompts(ids, "train")))(rows.prompt_ids)
  np.testing.assert_array_equal(got.answer_mask, answer_mask)
  for row in range(ROWS):
    answer = np.asarray(answers)[row][np.asarray(answer_mask)[row]]
    for boundary in range(2):
      before = beginning(row, cuts[row, boundary])
      plain = outputs()([*before, *answer])["logprobs"][len(before) : len(before) + len(answer)]
      np.testing.assert_allclose(got.answer_logprobs[row, boundary, : len(answer)], plain, atol=1e-5)
  assert (got.answer_logprobs[:, :2] < 0).all() and not got.answer_logprobs[:, 2].any()


def test_entropies_are_those_of_the_sampled_answers():
  cuts, mask, got = found()
  assert got.entropies.shape == (ROWS, 3, SAMPLES, TOKENS)
  assert got.sampled[:, :2, :, 0].all() and not got.sampled[:, 2].any()
  assert not got.entropies[~got.sampled].any() and (got.entropies[got.sampled] > 0).all()
  assert (got.entropies[:, :2, :1, 0] == got.entropies[:, :2, :, 0]).all(), "the first token has one distribution"
  for row in range(ROWS):
    for boundary in range(2):
      before = beginning(row, cuts[row, boundary])
      first = outputs()([*before, 0])["entropies"][len(before)]
      np.testing.assert_allclose(got.entropies[row, boundary, 0, 0], first, atol=1e-5)


def task_with(opening):
  return types.SimpleNamespace(forced_answer=ForcedAnswer(opening, lambda prompts: None))


@pytest.mark.parametrize(
  ("opening", "tokens", "ends", "exist"),
  [
    ((9,), [9, 4, 4, 5, 9, 6], [3, 4, 0], [1, 1, 0]),  # a prompt may hold the opening
    ((9,), [1, 4, 4, 5, 5, 5], [3, 6, 0], [1, 1, 0]),  # no answer: the row was cut
    ((9,), [1, 9, 4, 5, 5, 5], [3, 6, 0], [0, 0, 0]),  # an answer at once
    ((5, 9), [1, 4, 4, 5, 9, 6], [3, 6, 0], [1, 0, 0]),
    ((9, 9), [1, 4, 4, 5, 9, 6], [3, 6, 0], [1, 1, 0]),
  ],
)
def test_ends_of_steps_by_hand(opening, tokens, ends, exist):
  """Steps are tokens 1, 2 and tokens 3 to 5; in the first case the answer, token 4, is a step of its own."""
  step_ids = [-1, 0, 0, 1, 1, 1] if ends[1] == 6 else [-1, 0, 0, 1, 2, 2]
  rows = batch_of([[0, 1, 1, 1, 1, 1]], prompt_width=1, tokens=[tokens], step_ids=[step_ids])
  got = step_ends(task_with(opening), rows, 3)
  keep = np.array(exist, bool)
  np.testing.assert_array_equal(got[1], [keep])
  np.testing.assert_array_equal(np.asarray(got[0])[0][keep], np.array(ends)[keep])


def test_only_so_many_steps_are_probed_and_padding_ends_none():
  rows = batch_of(
    [[0, 1, 1, 1]], prompt_width=1, tokens=[[1, 4, 4, 4]], step_ids=[[-1, 0, 1, 2]],
    attention_mask=[[True, True, True, False]],
  )  # fmt: skip
  ends, exist = step_ends(task_with((9,)), rows, 1)
  assert ends.tolist() == [[2]] and exist.tolist() == [[True]]
  assert step_ends(task_with((9,)), rows, 4)[1].tolist() == [[True, True, False, False]]


def test_a_rollout_with_probes_counts_what_they_sample():
  task, policy, _ = parts()
  boundaries = lambda task, rows: step_ends(task, rows, 2)
  options = {"samples": SAMPLES, "max_tokens": TOKENS, "sampling": Sampling()}
  rollout = probed(task, flat(task, 2, Sampling()), boundaries, **options)
  plan = Plan(jnp.arange(16), jnp.ones(32, bool), jnp.full(32, task.response_tokens))
  with counted(probes) as counts:
    step = jax.jit(lambda key: collected(rollout, {"policy": policy}, (), plan, task, key))
    result = jax.device_get(step(jax.random.key(1)))
  rows = result.trajectories
  assert result.generated_tokens - rows.response_lengths.sum() == sum(counts) > 0
  assert rows.extras["probe_sampled"].sum() == sum(counts)
  assert not rows.extras["probe_sampled"][~rows.extras["probe_mask"]].any()
  assert rows.reward_mask.all() and rows.extras["probe_mask"].any()


def test_a_task_that_cannot_be_forced_is_one_line():
  task = dataclasses.replace(parts()[0], forced_answer=None)
  with pytest.raises(ValueError, match="this task has no `forced_answer`: use another task"):
    probe(None, task, None, parts()[2], jnp.zeros((8, 1)), jnp.ones((8, 1), bool), None, sampling=Sampling())


def test_an_opening_begins_where_all_of_its_tokens_are_in_use():
  tokens, mask = np.array([[7, 8, 7, 8, 7, 8]]), np.array([[True, True, True, False, True, True]])
  assert probes.begins((7, 8), tokens, mask).tolist() == [[True, False, False, False, True, False]]
  assert probes.begins((7, 8, 7), tokens, mask).tolist() == [[True, False, False, False, False, False]]
  np.testing.assert_array_equal(probes.begins((), tokens, mask), mask)
