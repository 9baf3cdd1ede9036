"""The controls: true values of steps as advantages, and no reward at all."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import no_reward, oracle
from rl_jax.rollouts import step_values
from rl_jax.tasks import addition, chain
from rl_jax.trajectories import Trajectories
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations


def signal(control, task, trajectories, **options):
  method = control.build(config_of(control.__name__.rpartition(".")[2], **options), task)
  return method.signal(trajectories, jnp.int32(0)).streams["policy"]


def demonstrated(task, rows=64) -> Trajectories:
  """Demonstrations of the task as if the policy had written them."""

  @jax.jit
  def made():
    prompts = task.prompts(jnp.arange(rows), "train")
    tokens, mask = task.demonstrate(jax.random.key(0), prompts)
    return prompts, tokens, mask, task.verify(prompts, tokens, mask)

  prompts, tokens, mask, verdicts = jax.device_get(made())
  whole = lambda x, y: np.concatenate([x, y], axis=1)
  none = np.zeros(prompts.mask.shape, bool)
  return batch_of(
    whole(none, mask), prompt_width=task.prompt_tokens, tokens=whole(prompts.tokens, tokens),
    attention_mask=whole(prompts.mask, mask), step_ids=whole(none - 1, verdicts.step_ids), prompt_ids=prompts.ids,
    rewards=verdicts.rewards,
  )  # fmt: skip


def test_no_reward_pushes_likely_tokens_by_hand():
  trajectories = batch_of(
    [[0, 1, 1], [0, 1, 0]], old_logprobs=np.array([[9.0, -1, -2], [9, -6, 9]], np.float32), rewards=np.ones(2)
  )
  stream = signal(no_reward, TASK, trajectories)
  np.testing.assert_allclose(stream.targets, [[0, 2, 1], [0, -3, 0]])
  np.testing.assert_array_equal(stream.weights, trajectories.loss_mask)


def test_values_of_completions_by_hand():
  """Two steps with the values 0.5 and 0.25 at their starts, then the reward; then one step and text outside of any."""
  trajectories = batch_of(
    np.ones((2, 4)), step_ids=np.array([[0, 0, 1, 1], [-1, 0, 0, 0]]), rewards=np.array([1.0, 0.0], np.float32),
    extras={"cut_values": np.array([[0.5, 0.25], [0.75, 0.0]]), "cut_mask": np.array([[True, True], [True, False]])},
  )  # fmt: skip
  found = jax.jit(step_values.from_completions)(trajectories)
  np.testing.assert_allclose(found.before, [[0.5, 0.5, 0.25, 0.25], [0, 0.75, 0.75, 0.75]])
  np.testing.assert_allclose(found.after, [[0.25, 0.25, 1, 1], [0, 0, 0, 0]])


def test_the_oracle_credits_the_steps_that_change_the_chances():
  """Of right operations before any wrong one the credit is positive, of the first wrong one negative."""
  level = {"operations": 4, "operators": "+-"}
  task = chain.build({"levels": {"one": level}, "step_error_rate": 0.3, "skip_rate": 0.0, "recheck_rate": 0.0})
  trajectories = demonstrated(task)
  stream = jax.device_get(jax.jit(lambda rows: signal(oracle, task, rows))(trajectories))
  steps = stream.targets[:, task.prompt_tokens :][:, 0:8:2]
  start = task.prompt_tokens
  stated = np.asarray(trajectories.tokens)[:, start + 1 : start + 9 : 2] - task.vocabulary.encode("0")[0]
  true = jax.jit(lambda ids: task.prompts(ids, "train").metadata["step_values"])(trajectories.prompt_ids)
  wrong = stated != np.asarray(true)
  first = np.cumsum(wrong, axis=1)
  assert wrong.any() and np.all(steps[first == 0] > 0) and np.all(steps[wrong & (first == 1)] < 0)


def test_completions_are_not_charged():
  done = two_iterations("oracle", "method.truth=completions", "method.completions=2", "method.max_steps=3")
  charged = done.metrics[-1]["generated_tokens"].sum()
  assert 0 < charged < done.sampled and all(np.isfinite(x).all() for m in done.metrics for x in m.values())


def test_no_reward_moves_the_policy():
  assert_whole(two_iterations("no_reward"))


def test_a_task_without_exact_values_takes_completions():
  task = addition.build(addition.get_config())
  config = config_of("oracle", **{"truth": "exact"})
  with pytest.raises(ValueError, match="has no exact values of steps; use 'completions'"):
    oracle.build(config, task)
  assert len(oracle.build(config_of("oracle"), task).rollout.phases) > 1


def test_rewards_do_not_reach_the_control():
  mask, logprobs = np.ones((2, 3), bool), -np.arange(6, dtype=np.float32).reshape(2, 3)
  streams = [
    signal(no_reward, TASK, batch_of(mask, old_logprobs=logprobs, rewards=np.array(rewards, np.float32)))
    for rewards in ([0, 0], [1, 0])
  ]
  np.testing.assert_array_equal(streams[0].targets, streams[1].targets)
  assert dataclasses.is_dataclass(streams[0])
