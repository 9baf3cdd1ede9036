"""Past outcomes: what is kept of each prompt, what joins a group, what a prompt to reflect holds."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.outcomes import recalled, reflections, remembered, with_past
from rl_jax.rollouts.rollout import padded
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import Prompts
from rl_jax.trajectories import POLICY, PROMPT, REPLAY
from tests.methods.batches import batch_of

GROUP, KEPT, WIDTH = 2, 2, 1
TASK: Any = types.SimpleNamespace(prompt_tokens=1, response_tokens=2, objectives=(), turns=None)
INSTRUCTION = (9, 8)
KEY = jax.random.key(0)


def rollout_of(**options):
  given = {"pool": 3, "kept": KEPT, "replayed": 2, "reflected": 0, "threshold": 0.5} | options
  return with_past(TASK, GROUP, Sampling(), **given)


def rows_of(correct, names, ids, *, width=WIDTH, scored=True):
  """Two rows of each prompt; one token of the response names the row, and has minus that as its logprob."""
  names, rows = np.asarray(names), len(names)
  mask = np.arange(width + 2) == width
  tokens = np.where(mask, names[:, None], 0)
  tokens[:, width - 1] = 100 + np.repeat(ids, GROUP)
  return batch_of(
    np.tile(mask, (rows, 1)), prompt_width=width, tokens=tokens.astype(np.int32), rewards=np.float32(correct),
    attention_mask=np.tile((np.arange(width + 2) == width - 1) | mask, (rows, 1)),
    source_ids=np.tile(np.where(mask, POLICY, PROMPT), (rows, 1)).astype(np.int32),
    old_logprobs=np.where(mask, -names[:, None], 0).astype(np.float32),
    group_ids=np.repeat(np.arange(len(ids)), GROUP).astype(np.int32), reward_mask=np.broadcast_to(scored, rows),
    prompt_ids=np.repeat(ids, GROUP).astype(np.int32), extras={"correct": np.asarray(correct, bool)},
  )  # fmt: skip


def prompts_of(ids):
  tokens = jnp.asarray(100 + np.asarray(ids), jnp.int32)[:, None]
  ids = jnp.asarray(ids, jnp.int32)
  return Prompts(tokens=tokens, mask=jnp.ones(tokens.shape, bool), ids=ids, levels=jnp.zeros_like(ids), metadata={})


push = jax.jit(lambda past, rows, ids: remembered(past, ids, rows))
past_to = jax.jit(recalled)


def past_of(*iterations, **options):
  """Past after rows of some iterations, (correct, names, ids) or with keywords."""
  past, width = rollout_of(**options).init(KEY), rollout_of(**options).prompt_width or WIDTH
  for correct, names, ids, *scored in iterations:
    rows = rows_of(correct, names, ids, width=width, scored=scored[0] if scored else True)
    past = push(past, rows, jnp.asarray(ids, jnp.int32))
  return past


def names_of(rows):
  """Names of the rows in use, in order."""
  at = rows.prompt_width
  return [int(name) for name, used in zip(rows.tokens[:, at], rows.row_mask, strict=True) if used]


def kept_of(past, prompt):
  found = past_to(past, jnp.array([prompt]))
  return names_of(found.right), names_of(found.wrong), float(found.responses[0]), float(found.successes[0])


def test_the_newest_of_each_outcome_are_kept():
  past = past_of(([1, 0, 0, 0], [1, 2, 3, 4], [0, 1]), ([1, 1, 0, 0], [5, 6, 7, 8], [0, 1]))
  assert kept_of(past, 0) == ([5, 6], [2], 4, 3)
  assert kept_of(past, 1) == ([], [7, 8], 4, 0)
  past = push(past, rows_of([0, 1], [9, 10], [0]), jnp.array([0]))
  assert kept_of(past, 0) == ([6, 10], [2, 9], 6, 4)
  assert kept_of(past, 2) == ([], [], 0, 0)


def test_a_kept_row_is_as_it_was():
  found = past_to(past_of(([1, 0], [5, 6], [0])), jnp.array([0])).right
  row = found.rows(jnp.flatnonzero(found.row_mask))
  np.testing.assert_array_equal(row.old_logprobs, [[0, -5, 0]])
  np.testing.assert_array_equal(row.source_ids, [[PROMPT, REPLAY, PROMPT]])
  np.testing.assert_array_equal((row.rewards, row.prompt_ids, row.reward_mask), [[1], [0], [True]])


def test_unscored_rows_are_not_kept_and_of_equal_prompts_the_first_counts():
  past = past_of(([0, 0, 0, 0], [1, 2, 3, 4], [0, 0], [True, False, True, True]))
  assert kept_of(past, 0) == ([], [1], 1, 0)


def test_another_prompt_takes_the_place():
  """The prompts 0 and 3 have the same of three."""
  past = push(past_of(([0, 1], [1, 2], [0])), rows_of([0, 0], [3, 4], [3]), jnp.array([3]))
  assert kept_of(past, 0) == ([], [], 0, 0) and kept_of(past, 3) == ([], [3, 4], 2, 0)


def test_groups_of_one_outcome_are_joined_by_the_other():
  """All wrong; all right; both; all wrong without a past."""
  ids = [0, 1, 2, 4]
  rollout, prompts = rollout_of(pool=5), prompts_of(ids)
  past = past_of(([1, 1, 0, 1, 1, 0, 0, 0], range(11, 19), ids), pool=5)
  before = rows_of([0, 0, 1, 1, 0, 1, 0, 0], range(21, 29), ids)
  run = jax.jit(lambda past, before: rollout.phases[1]({}, past, None, prompts, before, None))
  result = run(past, before)
  rows, size = result.trajectories, GROUP + 2
  by_group = lambda x: np.asarray(x).reshape(len(ids), size).tolist()
  assert by_group(rows.row_mask) == [[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0], [1, 1, 0, 0]]
  # Newest first; where there is none, the group's first row again.
  assert by_group(rows.tokens[:, WIDTH]) == [[21, 22, 12, 11], [23, 24, 13, 23], [25, 26, 25, 25], [27, 28, 27, 27]]
  np.testing.assert_array_equal(rows.group_ids, np.repeat(np.arange(4), size))
  np.testing.assert_array_equal(rows.extras["replayed"], rows.row_mask & (rows.tokens[:, WIDTH] < 20))
  np.testing.assert_array_equal(rows.source_ids[:, WIDTH] == REPLAY, rows.extras["replayed"])
  np.testing.assert_array_equal(rows.old_logprobs[:, WIDTH], -rows.tokens[:, WIDTH])
  np.testing.assert_array_equal(rows.correct, rows.row_mask & (rows.rewards == 1))
  assert not result.verify.any() and result.generated_tokens == 0
  np.testing.assert_allclose(result.metrics["replayed"].value, 3 / 11)
  assert kept_of(result.state, 0) == ([11, 12], [21, 22], 4, 2), "compared with the past before it is part of it"


def test_a_prompt_to_reflect_on_holds_a_wrong_response_and_the_instruction():
  """Without a wrong response it stays as it is."""
  rollout = rollout_of(reflected=None, instruction=INSTRUCTION)
  width = rollout.prompt_width
  assert width == 1 + 2 + len(INSTRUCTION)
  past = past_of(([0, 1, 1, 1], [5, 6, 7, 8], [0, 1]), reflected=None, instruction=INSTRUCTION)
  prompts = padded(prompts_of([0, 1]), width)
  run = jax.jit(lambda past, key: reflections(recalled(past, prompts.ids), prompts, INSTRUCTION, key))
  longer, found = run(past, KEY)
  np.testing.assert_array_equal(found, [True, False])
  np.testing.assert_array_equal(longer.mask, [[0, 1, 1, 1, 1], [0, 0, 0, 0, 1]])
  np.testing.assert_array_equal(np.where(longer.mask, longer.tokens, 0), [[0, 100, 5, 9, 8], [0, 0, 0, 0, 101]])


def test_only_hard_prompts_in_use_are_asked_again(monkeypatch):
  """Shares of right responses 0, 1/2, 0 and 0, the first of a prompt that is not in use; one or three may be asked."""
  phase = lambda models, state, plan, prompts, before, key: (plan, prompts)
  monkeypatch.setattr("rl_jax.rollouts.outcomes.flat", lambda *arguments: types.SimpleNamespace(phases=(phase,)))
  ids, options = [0, 1, 2, 4], {"pool": 5, "instruction": INSTRUCTION}
  past = past_of(([0, 0, 0, 1, 0, 0, 0, 0], range(1, 9), ids), reflected=1, **options)
  plan = Plan(jnp.array(ids), jnp.repeat(jnp.array([False, True, True, True]), GROUP), jnp.full(8, 2))
  for most, extra in ((1, [2]), (3, [2, 4, 0])):
    rollout = rollout_of(reflected=most, **options)
    prompts = padded(prompts_of(ids), rollout.prompt_width)
    ask = jax.jit(lambda past, rollout=rollout, prompts=prompts: rollout.phases[0]({}, past, plan, prompts, None, KEY))
    longer, asked = ask(past)
    used = np.isin(extra, (2, 4))
    np.testing.assert_array_equal(longer.prompt_ids, [*ids, *extra])
    np.testing.assert_array_equal(longer.row_mask[8:], np.repeat(used, GROUP))
    np.testing.assert_array_equal(longer.response_limits[8:], np.repeat(2 * used, GROUP))
    np.testing.assert_array_equal(asked.ids, longer.prompt_ids)


@pytest.mark.parametrize(
  ("options", "turns", "message"),
  [
    ({"replayed": 3}, None, "3 past responses cannot join a group, as 2 right and 2 wrong ones are kept"),
    ({}, object(), "responses of several turns cannot become part of a prompt: use a task without turns"),
  ],
)
def test_what_cannot_be_is_refused(options, turns, message, monkeypatch):
  monkeypatch.setattr(TASK, "turns", turns)
  with pytest.raises(ValueError, match=message):
    rollout_of(**options)
