"""SIRI: limits and rewards by hand and on the paper's schedule, what is left of GRPO, and two iterations."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import grpo, siri
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

A, B = 1.499997, 0.499999
"""|A| of one answer against three, of the three, with ddof 1 and eps 1e-6."""


def batch(lengths, rewards, truncated, **fields):
  mask = np.arange(max(lengths)) < np.array(lengths)[:, None]
  rewards = np.array(rewards, np.float32)
  return batch_of(mask, rewards=rewards, truncated=np.array(truncated, bool), **{"group_ids": [0] * len(mask)} | fields)


def built(tokens=6, **options):
  """The method on a task with so many response tokens."""
  ids = lambda key, count, split: jnp.arange(count)
  task = types.SimpleNamespace(response_tokens=tokens, turns=None, problem_ids=ids)
  return siri.build(config_of(siri, **options), task), task


def limits(iterations, **options):
  """That of each of these iterations, from plans and from the metric."""
  method, task = built(**options)
  trajectories = batch([1, 2], [1.0, 0.0], [False, False])
  start = method.curriculum.init(jax.random.key(0))
  found = []
  for iteration in iterations:
    state = start.replace(iteration=jnp.int32(iteration))
    plan, after = method.curriculum.next(state, task, jax.random.key(0))
    assert after.iteration == iteration + 1 and plan.response_limits.shape == (4,)
    (limit,) = set(np.asarray(plan.response_limits).tolist())
    assert method.signal(trajectories, jnp.int32(iteration)).metrics["response_limit"].value == limit
    found.append(limit)
  return found


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({"kind": "cosine"}, [12, 9, 6, 9, 12, 9]),
    ({"kind": "stair"}, [6, 6, 12, 12, 6, 6]),
    ({"kind": "cosine", "shortest_share": 0.25, "longest_share": 0.75}, [9, 6, 3, 6, 9, 6]),
    ({"kind": "cosine", "shortest_share": 1e-3}, [12, 6, 1, 6, 12, 6]),  # half between 1 and 12 is 6.5, to the even
  ],
)
def test_limits_by_hand(options, expected):
  assert limits(range(6), tokens=12, cycle=4, **options) == expected


def test_the_worked_example_of_the_schedules():
  cosine = limits([0, 40, 79, 160, 320, 480], tokens=16384)
  assert cosine == [16384, 16072, 15213, 12288, 8192, 12288]
  stair = limits([79, 80, 160, 239, 240, 400, 559], tokens=16384, kind="stair_cosine")
  assert stair == [16384, 16384, 12288, 8193, 8192, 8192, 16383]


@pytest.mark.parametrize(("truncated", "expected"), [([0, 1, 0, 1], [A, -B, -B, -B]), ([0, 0, 0, 0], [B, B, -A, B])])
def test_the_worked_example_of_the_rewards(truncated, expected):
  """Two right answers of four need more than the limit of 6 tokens; at 12 they are finished."""
  lengths = [4, 6, 5, 6] if any(truncated) else [4, 9, 5, 12]
  trajectories = batch(lengths, [1, 1, 0, 1], truncated)
  stream = built()[0].signal(trajectories, jnp.int32(0)).streams["policy"]
  np.testing.assert_allclose(
    stream.targets, np.where(trajectories.loss_mask, np.array(expected)[:, None], 0), rtol=1e-5
  )
  np.testing.assert_array_equal(stream.weights, trajectories.loss_mask)  # what was cut stays in the loss


def test_with_one_limit_it_is_grpo_with_a_wider_upper_clip():
  assert set(limits([0, 100, 320], tokens=12, shortest_share=1.0)) == {12}
  logprobs = -np.random.default_rng(0).uniform(0.1, 2, (4, 5)).astype(np.float32)
  trajectories = batch([2, 5, 3, 4], [1, 0, 0, 1], [0] * 4, old_logprobs=logprobs)
  outputs = {"policy": {"logprobs": logprobs + np.log([1.27, 1.29, 1.3, 0.7, 0.81]), "entropies": logprobs}}
  losses = []
  for module, options in ((siri, {"shortest_share": 1.0}), (grpo, {"kl_coefficient": 0.0, "clip_high": 0.28})):
    method = module.build(config_of(module, **options), TASK)
    loss = method.loss(outputs, trajectories, method.signal(trajectories, jnp.int32(0)).streams)
    assert loss.terms.keys() == {"policy"}
    losses.append([loss.terms["policy"].mean.value, loss.metrics["clip_fraction"].value])
  np.testing.assert_array_equal(*losses)
  assert losses[0][1] > 0


def test_answers_that_were_all_cut_have_no_advantage():
  trajectories = batch([6, 6, 6], [1, 0, 1], [1, 1, 1])
  stream = built()[0].signal(trajectories, jnp.int32(0)).streams["policy"]
  assert not np.asarray(stream.targets).any() and np.asarray(stream.weights).all()


def test_unscored_rows_and_groups_of_equal_rewards_have_no_advantage():
  scored = np.array([True, True, False, True, True])
  trajectories = batch(
    [2, 3, 4, 5, 6], [1, 0, np.nan, 1, 1], [0, 0, 0, 0, 0], group_ids=[7, 7, 7, 9, 9], reward_mask=scored
  )
  stream = built(epsilon=0.0, ddof=0)[0].signal(trajectories, jnp.int32(0)).streams["policy"]
  np.testing.assert_allclose(stream.targets[:, 0], [1, -1, 0, 0, 0], rtol=1e-6)
  assert not np.asarray(stream.weights)[2].any()


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"kind": "linear"}, "method.kind is one of cosine, stair, stair_cosine"),
    ({"shortest_share": 0.8, "longest_share": 0.7}, "method.shortest_share=0.8 is above method.longest_share=0.7"),
  ],
)
def test_an_option_that_makes_no_sense_is_one_line(options, said):
  with pytest.raises(ValueError, match=said) as error:
    built(**options)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"cycle": 0}, {"longest_share": 1.5}, {"shortest_share": 0.0}])
def test_a_number_that_makes_no_sense_is_one_line(options):
  with pytest.raises(UserError, match=f"method.{next(iter(options))}: want .*, got") as error:
    check_options(config_of(siri, **options), siri)
  assert "\n" not in str(error.value)


def test_two_iterations_cut_at_the_limits():
  done = two_iterations("siri", "method.cycle=2", "method.shortest_share=0.25")
  assert_whole(done)
  tokens = done.trainer.experiment.task.response_tokens
  first, second = done.metrics
  assert (first["response_limit"] == tokens).all() and (second["response_limit"] == round(tokens / 4)).all()
  assert (second["sequential_tokens"] == second["response_limit"]).all() and (second["truncated"] > 0).all()
  assert (first["sequential_tokens"] > second["sequential_tokens"]).all()
  assert (jax.device_get(done.trainer.state.seeds.curriculum.iteration) == 2).all()
