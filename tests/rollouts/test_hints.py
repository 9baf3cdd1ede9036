"""Hinted responses: what is given, by difficulty; what the policy writes; order, limits and what is counted."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.rollouts.hints import hint_tokens, hinted
from rl_jax.rollouts.sampler import Sampling
from rl_jax.tasks.task import Turns
from rl_jax.trajectories import HINT, POLICY, PROMPT, PrefixTrees
from tests.rollouts import structures
from tests.rollouts.collecting import collected

PLAIN, HELPED, PROMPTS = structures.GROUP, 3, structures.PROMPTS
OPTIONS = {"low": 0.25, "high": 0.75, "noise": 0.0}


@pytest.fixture(scope="module")
def made():
  """(task, rows by prompt, the result), where all responses to the first two prompts fail."""
  task, policy = structures.parts()

  def verify(prompts, tokens, mask):
    verdicts = task.verify(prompts, tokens, mask)
    return verdicts.replace(rewards=(prompts.ids >= 2).astype(jnp.float32))

  judging = dataclasses.replace(task, verify=verify)
  rollout, plan = hinted(judging, PLAIN, HELPED, Sampling(), **OPTIONS), structures.plan_of(task)
  run = jax.jit(lambda key: collected(rollout, {"policy": policy}, (), plan, judging, key))
  result = jax.device_get(run(jax.random.key(0)))
  return judging, jax.tree.map(lambda x: x.reshape(PROMPTS, PLAIN + HELPED, *x.shape[1:]), result.trajectories), result


def test_the_hint_is_the_beginning_of_the_solution_and_longer_for_a_hard_prompt(made):
  """w is 0.75 where all fail and 0.25 where all succeed."""
  task, rows, result = made
  solutions, mask = jax.jit(lambda ids: task.solutions(task.prompts(ids, "train")))(np.arange(PROMPTS))
  hint, width = np.asarray(rows.attention_mask & (rows.source_ids == HINT)), result.trajectories.prompt_width
  assert not hint[:, :PLAIN].any() and not rows.extras["hinted"][:, :PLAIN].any()
  assert rows.extras["hinted"][:, PLAIN:].all()
  for prompt in range(PROMPTS):
    whole = int(mask[prompt].sum())
    length = int((0.75 if prompt < 2 else 0.25) * whole)
    expected = np.arange(hint.shape[-1]) - width < length
    for row in range(PLAIN, PLAIN + HELPED):
      np.testing.assert_array_equal(hint[prompt, row], expected & (np.arange(hint.shape[-1]) >= width))
      given = rows.tokens[prompt, row][hint[prompt, row]]
      np.testing.assert_array_equal(given, np.asarray(solutions)[prompt, :length])
  np.testing.assert_allclose(result.metrics["hint_ratio"].value, 0.5)


def test_the_policy_writes_the_rest(made):
  _, rows, result = made
  flat, width = result.trajectories, result.trajectories.prompt_width
  response = flat.attention_mask & (np.arange(flat.tokens.shape[1]) >= width)
  np.testing.assert_array_equal(flat.loss_mask, response & ~np.asarray(hint_tokens(flat)))
  assert set(np.unique(flat.source_ids[flat.loss_mask])) == {POLICY}
  assert set(np.unique(flat.source_ids[:, :width])) == {PROMPT}
  assert (np.asarray(rows.loss_mask)[:, PLAIN:].sum(axis=-1) > 0).all(), "the end is never given"
  assert result.generated_tokens == flat.loss_mask.sum()


def test_the_rows_of_a_prompt_are_adjacent_and_all_judged(made):
  _, _, result = made
  flat = result.trajectories
  np.testing.assert_array_equal(flat.prompt_ids, np.repeat(np.arange(PROMPTS), PLAIN + HELPED))
  np.testing.assert_array_equal(flat.group_ids, flat.prompt_ids)
  np.testing.assert_array_equal(flat.rewards, flat.prompt_ids >= 2)
  assert flat.verified.all() and not flat.unfinished.any()
  assert flat.trees == (PrefixTrees.groups(PROMPTS * (PLAIN + HELPED), PLAIN + HELPED, flat.prompt_width),)


def test_a_limit_of_the_plan_ends_a_response_and_unused_prompts_get_nothing():
  task, policy = structures.parts()
  plan = structures.plan_of(task).replace(
    row_mask=jnp.arange(PROMPTS * PLAIN) < 2 * PLAIN, response_limits=jnp.full(PROMPTS * PLAIN, 6)
  )
  rollout = hinted(task, PLAIN, HELPED, Sampling(), low=0.5, high=0.5, noise=0.0)
  run = jax.jit(lambda key: collected(rollout, {"policy": policy}, (), plan, task, key))
  rows = jax.device_get(run(jax.random.key(1))).trajectories
  response = rows.attention_mask[:, rows.prompt_width :].sum(axis=1)
  np.testing.assert_array_equal(rows.row_mask, rows.prompt_ids < 2)
  assert (response[rows.row_mask] <= 6).all() and not rows.unfinished.any()
  assert (rows.truncated | (response < 6))[rows.row_mask].all()


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"solutions": None}, "hints are parts of solutions, and this task has none: use one that does, as rl"),
    ({"turns": Turns(2, 4, 2)}, "a response of several turns cannot continue a hint: use a task without turns"),
  ],
)
def test_tasks_without_what_it_takes_are_refused(change, message):
  task, _ = structures.parts()
  with pytest.raises(ValueError, match=message):
    hinted(dataclasses.replace(task, **change), PLAIN, HELPED, Sampling(), **OPTIONS)
