"""T-PPO: its two streams by hand, PPO as a case of it, and two iterations through the trainer."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import ppo, tppo
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

TASK: Any = types.SimpleNamespace(prompt_tokens=1, response_tokens=4, turns=None, step_values=None)

# Slot 0 is a prompt. Row 0 goes on, row 1 ends in its second window, row 2 is fresh and ends, row 3 has no verdict.
RESPONSE = np.array([[0, 1, 1, 1, 1], [0, 1, 1, 1, 0], [0, 1, 1, 0, 0], [0, 1, 1, 1, 1]], bool)
NEW = np.array([[0, 0, 0, 1, 1], [0, 0, 0, 1, 0], [0, 1, 1, 0, 0], [0, 0, 0, 1, 1]], bool)
VALUES = np.array([[9, 0.2, 0.4, 0.5, 0.7], [9, 0.1, 0.3, 0.6, 9], [9, 0.5, 0.25, 9, 9], [9, 1, 1, 1, 1]], np.float32)


def batch(**fields):
  given = {
    "rewards": [np.nan, 1.0, 0.5, np.nan], "reward_mask": [False, True, True, False],
    "unfinished": [True, False, False, False], "extras": {"response_mask": RESPONSE, "values": VALUES},
  }  # fmt: skip
  return batch_of(NEW, **given | fields)


def signal_of(trajectories, iteration=0, **options):
  method = tppo.build(config_of(tppo, **options), TASK)
  return method.signal(trajectories, jnp.int32(iteration))


def streams_of(trajectories, iteration=0, **options):
  return signal_of(trajectories, iteration, **options).streams


def test_the_policy_learns_from_this_window_and_the_critic_from_finished_answers():
  streams, metrics = signal_of(batch())
  known = np.array([[1], [1], [1], [0]])
  np.testing.assert_array_equal(streams["policy"].weights, NEW & known)
  np.testing.assert_array_equal(streams["value"].weights, RESPONSE & np.array([[0], [1], [1], [0]]))
  # Row 0: V(cut) = 0.7, so delta = [0.2, 0] on its new tokens. Rows 1 and 2 end with their reward.
  first = 0.25 - 0.5 + 0.95 * (0.5 - 0.25)
  want = [[0, 0, 0, 0.2, 0.0], [0, 0, 0, 1 - 0.6, 0], [0, first, 0.25, 0, 0], [0] * 5]
  np.testing.assert_allclose(streams["policy"].targets, want, atol=1e-6)
  np.testing.assert_allclose(streams["value"].targets, [[0] * 5, [0, 1, 1, 1, 0], [0, 0.5, 0.5, 0, 0], [0] * 5])
  errors = (VALUES - streams["value"].targets)[RESPONSE & np.array([[0], [1], [1], [0]], bool)]
  np.testing.assert_allclose(metrics["value_error"].value, np.mean(errors**2), rtol=1e-6)


def test_all_tokens_so_far_are_an_option():
  targets = streams_of(batch(), trained_tokens="response")["policy"]
  np.testing.assert_array_equal(targets.weights, RESPONSE & np.array([[1], [1], [1], [0]]))
  np.testing.assert_allclose(targets.targets[0], [0, 0.4755, 0.29, 0.2, 0], atol=1e-6)  # the spec's worked example


def test_a_warm_up_of_the_critic_leaves_the_policy_as_it_is():
  for iteration, moves in [(0, False), (1, False), (2, True)]:
    streams = streams_of(batch(), iteration, critic_warmup_iterations=2)
    assert bool(streams["policy"].targets.any()) == moves and streams["value"].targets.any()


def test_whitening_is_over_the_tokens_that_train_the_policy():
  targets = np.asarray(streams_of(batch(), whiten=True)["policy"].targets)
  kept = targets[NEW & np.array([[1], [1], [1], [0]], bool)]
  np.testing.assert_allclose([kept.mean(), kept.std(ddof=1)], [0, 1], atol=1e-5)


def test_answers_that_fit_one_window_are_ppo_with_a_monte_carlo_critic():
  whole = batch_of(
    RESPONSE, rewards=[1.0, 0.0, 0.5, 0.25], extras={"response_mask": RESPONSE, "values": VALUES}
  )  # fmt: skip
  signal = signal_of(whole, lam=0.9)
  build = lambda lam: ppo.build(config_of("ppo", lam=lam, whiten=False, value_clip=9.0), TASK)
  policy, value = (build(lam).signal(whole, jnp.int32(0)) for lam in (0.9, 1.0))
  streams = {"policy": policy.streams["policy"], "value": value.streams["value"]}
  same = lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6)
  jax.tree.map(same, signal.streams, streams)
  jax.tree.map(same, signal.metrics, value.metrics)
  outputs = {
    "policy": {"logprobs": jnp.zeros((4, 5)), "entropies": jnp.zeros((4, 5))}, "critic": {"values": VALUES + 0.1},
  }  # fmt: skip
  one = tppo.build(config_of(tppo, clip_high=0.2, lam=0.9), TASK).loss(outputs, whole, streams)
  other = build(1.0).loss(outputs, whole, streams)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), one, other)


def test_the_critics_own_value_at_the_cut_is_an_option():
  """Row 0 is cut after a first window of two tokens: the state after them is worth 0.5, that before the last 0.4."""
  new, response = NEW.copy(), RESPONSE.copy()
  new[0], response[0] = [0, 1, 1, 0, 0], [0, 1, 1, 0, 0]
  rows = batch_of(
    new, rewards=[np.nan, 1.0, 0.5, np.nan], reward_mask=[False, True, True, False],
    unfinished=[True, False, False, False], extras={"response_mask": response, "values": VALUES},
  )  # fmt: skip
  found = {at: streams_of(rows, at_cut=at)["policy"].targets for at in ("last", "next")}
  np.testing.assert_allclose(found["last"][0], [0, 0.2, 0, 0, 0], atol=1e-6)
  np.testing.assert_allclose(found["next"][0], [0, 0.2 + 0.95 * 0.1, 0.1, 0, 0], atol=1e-6)
  np.testing.assert_array_equal(found["last"][1:], found["next"][1:])


def test_nothing_finished_is_no_loss_of_the_critic():
  rows = batch(unfinished=[True] * 4, reward_mask=[False] * 4)
  outputs = {"policy": {"logprobs": jnp.zeros((4, 5)), "entropies": jnp.zeros((4, 5))}, "critic": {"values": VALUES}}
  loss = tppo.build(config_of(tppo), TASK).loss(outputs, rows, streams_of(rows))
  assert loss.terms["value"].mean.value == 0 and loss.terms["policy"].mean.weight == NEW.sum()


def test_two_iterations_with_responses_that_go_on():
  done = two_iterations("tppo", "method.window_tokens=3")
  assert_whole(done)
  slots = jax.device_get(done.trainer.state.seeds.rollout)
  first, second = done.metrics
  assert (first["finished"] < 1).all() and (first["sequential_tokens"] == 3).all()
  assert (first["response_length"] <= 3).all()
  assert not slots.free.all() and (slots.attention_mask[~slots.free].sum(axis=1) >= 3).all()
  assert "loss/value" in second and "value_error" in second


def test_an_unknown_choice_is_refused():
  with pytest.raises(ValueError, match="method.trained_tokens is one of window, response, got 'all'"):
    signal_of(batch(), trained_tokens="all")
  with pytest.raises(ValueError, match="method.at_cut is one of last, next, got 'first'"):
    signal_of(batch(), at_cut="first")


def test_values_after_a_window_are_not_left_out_by_length_buckets():
  config = config_of(tppo, at_cut="next")
  config.length_buckets = 2
  with pytest.raises(
    ValueError, match="method.at_cut='next' reads values after the end of a window: leave length_buckets=1"
  ):
    tppo.build(config, TASK)
