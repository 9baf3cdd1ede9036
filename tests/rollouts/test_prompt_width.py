"""Prompts wider than the task's: the same greedy responses, credit and buffers, some slots to the right."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.flat import flat
from rl_jax.rollouts.partial import partial_rollouts
from rl_jax.rollouts.rollout import PhaseResult, Rollout, assemble, unasked
from rl_jax.rollouts.turns import turn_starts, turns
from tests.rollouts import test_turns
from tests.rollouts.collecting import collected
from tests.rollouts.structures import CASES, GREEDY, GROUP, PROMPTS, STRUCTURES, parts, plan_of
from tests.training import small

MORE = 3
"""Slots that the rollout's prompts have more than the task's."""


def rolled(rollout, task, policy, width):
  """Result of one iteration with prompts of `width` slots."""
  plan, models = plan_of(task), {"policy": policy}

  def run(key):
    result = collected(rollout, models, rollout.init(key), plan, task, key)
    assert result.trajectories.prompt_width == width
    return result

  return jax.device_get(jax.jit(run)(jax.random.key(0)))


def narrowed(trajectories):
  """Without the slots that the wider prompts have more."""
  width = trajectories.tokens.shape[1]
  assert not trajectories.attention_mask[:, :MORE].any()
  shorter = lambda x: x[:, MORE:] if x.ndim > 1 and x.shape[1] == width else x
  return jax.tree.map(shorter, trajectories.replace(prompt_width=trajectories.prompt_width - MORE))


def assert_alike(wide, narrow):
  """Every array of two batches agrees, where a token is; logprobs to rounding."""
  both = [narrowed(wide), narrow]
  np.testing.assert_array_equal(both[0].attention_mask, both[1].attention_mask)
  there = both[1].attention_mask
  assert there[:, both[1].prompt_width :].any()
  for (path, one), (_, other) in zip(*map(jax.tree_util.tree_leaves_with_path, both), strict=True):
    of_tokens = other.ndim == 2 and other.shape == there.shape
    one, other = (np.where(there, x, 0) if of_tokens else x for x in (one, other))
    np.testing.assert_allclose(one, other, atol=1e-5, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize("structure", CASES)
def test_greedy_responses_do_not_know_how_wide_prompts_are(structure):
  task, policy = parts()
  plain = flat(task, GROUP, GREEDY)
  width = task.prompt_tokens + MORE
  narrow = rolled(STRUCTURES[structure](task, plain), task, policy, task.prompt_tokens)
  made = STRUCTURES[structure](task, dataclasses.replace(plain, prompt_width=width))
  wide = rolled(dataclasses.replace(made, prompt_width=width), task, policy, width)
  assert_alike(wide.trajectories, narrow.trajectories)
  assert wide.generated_tokens == narrow.generated_tokens
  small.assert_close(wide.metrics, narrow.metrics, 1e-6)


def test_turns_do_not_know_how_wide_prompts_are():
  experiment, policy = test_turns.parts()
  task = experiment.task
  rollout, width = turns(task, GROUP, GREEDY), task.prompt_tokens + MORE
  narrow = rolled(rollout, task, policy, task.prompt_tokens)
  wide = rolled(dataclasses.replace(rollout, prompt_width=width), task, policy, width)
  assert_alike(wide.trajectories, narrow.trajectories)
  places, exist = turn_starts(task, wide.trajectories)
  np.testing.assert_array_equal(places - MORE, turn_starts(task, narrow.trajectories)[0])
  np.testing.assert_array_equal(exist, turn_starts(task, narrow.trajectories)[1])


def test_a_phase_may_write_prompts_as_wide_as_the_rollout_says():
  """A hint right of the prompt, as long as the plan's extras say: what the policy reads is the problem and the hint."""
  task, policy = parts()
  plain = flat(task, GROUP, GREEDY).phases[0]

  def hinted(models, state, plan, prompts, before, key):
    assert prompts.tokens.shape[1] == task.prompt_tokens + MORE
    hint = jnp.broadcast_to(plan.extras["hint"], (PROMPTS, MORE))
    roll = lambda x, new: jnp.concatenate([x[:, MORE:], new], axis=1)
    longer = prompts.replace(tokens=roll(prompts.tokens, hint), mask=roll(prompts.mask, jnp.ones_like(hint, bool)))
    return plain(models, state, plan, longer, before, key)

  rows = PROMPTS * GROUP
  plan = Plan(jnp.arange(PROMPTS), jnp.ones(rows, bool), jnp.full(rows, 4), extras={"hint": jnp.array([3, 4, 5])})
  rollout = Rollout((hinted,), prompt_width=task.prompt_tokens + MORE)
  got = jax.jit(lambda key: collected(rollout, {"policy": policy}, (), plan, task, key).trajectories)(jax.random.key(0))
  np.testing.assert_array_equal(got.tokens[:, task.prompt_tokens : got.prompt_width], [[3, 4, 5]] * rows)
  assert got.reward_mask.all() and (got.attention_mask[:, : got.prompt_width].sum(axis=1) > MORE).all()
  again = jax.jit(policy.model.outputs)(policy.params, got)["logprobs"]
  np.testing.assert_allclose(got.old_logprobs, np.where(got.loss_mask, again, 0), atol=1e-5)


def test_wider_rows_than_the_rollout_says_are_refused():
  task, policy = parts()

  def phase(models, state, plan, prompts, before, key):
    tokens = jnp.zeros((PROMPTS, 2), jnp.int32)
    one = jnp.ones(PROMPTS, bool)
    rows = assemble(prompts, tokens, tokens > 0, completions_per_prompt=1, row_mask=one, truncated=~one)
    return PhaseResult(state, rows, unasked(rows), jnp.int32(0))

  with pytest.raises(ValueError, match=f"prompts of {task.prompt_tokens} slots do not fit into .* prompt_width of 2"):
    rolled(Rollout((phase,), prompt_width=2), task, policy, 2)


def test_windows_of_wider_prompts_are_refused():
  task, policy = parts()
  plain = partial_rollouts(PROMPTS * GROUP, 4, task, GREEDY)
  rollout = dataclasses.replace(plain, prompt_width=task.prompt_tokens + MORE)
  said = f"prompts of {task.prompt_tokens + MORE} slots do not fit into windows with prompts of {task.prompt_tokens}"
  with pytest.raises(ValueError, match=said):
    rolled(rollout, task, policy, task.prompt_tokens + MORE)
