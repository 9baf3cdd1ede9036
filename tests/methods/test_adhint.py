"""ADHint: the spec's worked example, forms of the weights on hints, gradient, hints without a sampler, iterations."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.advantages.group import grpo
from rl_jax.methods import adhint
from rl_jax.methods.method import check_options
from rl_jax.trajectories import HINT, POLICY
from tests.kernels.numerics import finite_difference
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

HINT_SLOTS, WIDTH = 3, 8
PLAIN, HELPED = np.float32([0, 0, 1, 0]), np.float32([1, 1, 0, 1])
ENTROPIES = np.float32([1.61, 1.6159, 1.0307, 0.5716, 0.1079, 0.7667, 0.8169, 0.0906])
MATCH = np.float32([0.292385532680, 0.291317970593, 0.456719261939])
"""Weights of the hint's tokens for these entropies, whose mean over the continuation is 0.47074."""
RNG = np.random.default_rng(0)


def task(**fields):
  return types.SimpleNamespace(**{**vars(TASK), "solutions": lambda prompts: None, **fields})


def built(**options):
  return adhint.build(config_of(adhint, **options), task())


def batch(plain=PLAIN, helped=HELPED, **fields):
  """Rows of one prompt, eight tokens each; the first three of hinted ones are a hint."""
  of_helped = np.arange(len(plain) + len(helped)) >= len(plain)
  hint = of_helped[:, None] & (np.arange(WIDTH) < HINT_SLOTS)
  extras = {"hinted": of_helped, "entropies": np.tile(ENTROPIES, (len(hint), 1))}
  rows = {"rewards": np.concatenate([plain, helped]), "group_ids": np.full(len(hint), 7)} | fields
  return batch_of(~hint, source_ids=np.where(hint, HINT, POLICY), extras=extras, **rows)


def signal_of(trajectories, **options):
  return built(**options).signal(trajectories, jnp.int32(0))


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """Plain responses succeed once in four times, hinted ones in three of four; the third hinted one fails."""
  streams, metrics = signal_of(batch())
  success, failure = 0.728500062802, -1.201093549249
  advantages = np.float32([-success, -success, -failure, -success, success, success, failure, success])
  wanted = np.tile(advantages[:, None], WIDTH)
  wanted[4:, :HINT_SLOTS] *= MATCH
  wanted[6, :HINT_SLOTS] = 0
  np.testing.assert_allclose(streams["policy"].targets, wanted, rtol=1e-5)
  np.testing.assert_array_equal(streams["policy"].weights, np.ones((8, WIDTH)))
  found = [metrics[name].value for name in ("plain_reward", "hinted_reward", "hint_gap", "hint_weight")]
  np.testing.assert_allclose(found, [0.25, 0.75, 0.5, MATCH.mean() * 3 / 4], rtol=1e-5)


@pytest.mark.parametrize(
  ("form", "of_success", "of_failure"),
  [
    ("modulated", MATCH, 0),
    ("consistency", MATCH, MATCH),
    ("selective", 1, 0),
    ("full", 1, 1),
    ("none", 0, 0),
  ],
)
def test_weights_on_hints_by_form(form, of_success, of_failure):
  targets = np.asarray(signal_of(batch(), hint_gradient=form).streams["policy"].targets)
  weights = targets[4:, :HINT_SLOTS] / targets[4:, -1:]
  expected = np.stack([np.broadcast_to(x, HINT_SLOTS) for x in (of_success, of_success, of_failure, of_success)])
  np.testing.assert_allclose(weights, expected, rtol=1e-5)
  np.testing.assert_allclose(targets[:, HINT_SLOTS:], np.tile(targets[:, -1:], WIDTH - HINT_SLOTS))


# Gradient.


def test_the_gradient_is_that_of_the_clipped_loss_over_hints_too():
  """- sum g min(r A, clip(r) A) / number of tokens, hints and all."""
  method, rows = built(clip_low=0.2, clip_high=0.2), batch()
  old = RNG.normal(-1, 0.3, size=rows.tokens.shape).astype(np.float32)
  logprobs = (old + RNG.normal(0, 0.3, size=old.shape)).astype(np.float32)
  rows = rows.replace(old_logprobs=jnp.asarray(old))
  stream = method.signal(rows, jnp.int32(0)).streams["policy"]

  def total(x):
    outputs = {"policy": {"logprobs": x, "entropies": jnp.ones_like(x)}}
    return method.loss(outputs, rows, {"policy": stream}).terms["policy"].mean.value

  def loop(x):
    advantages, ratio = np.float64(stream.targets), np.exp(x - np.float64(old))
    return -np.minimum(ratio * advantages, np.clip(ratio, 0.8, 1.2) * advantages).sum() / x.size

  np.testing.assert_allclose(total(jnp.asarray(logprobs)), loop(np.float64(logprobs)), rtol=1e-5)
  expected = finite_difference(loop, np.float64(logprobs))
  np.testing.assert_allclose(jax.grad(total)(jnp.asarray(logprobs)), expected, rtol=1e-4, atol=1e-6)
  assert (np.abs(expected) < 1e-9).any() and np.abs(expected[4, :HINT_SLOTS]).max() > 1e-4


# Invariances.


def test_a_hint_has_no_gap_between_sampler_and_trainer():
  """Behaviour logprobs of hints are never read: a correction by them would cut every hint."""
  method, rows = built(correction="token_tis", importance_sampling_cap=2.0), batch()
  old = jnp.asarray(RNG.normal(-1, 0.3, size=rows.tokens.shape), jnp.float32)
  hint = np.asarray(rows.source_ids == HINT)
  rows = rows.replace(old_logprobs=old, behaviour_logprobs=jnp.where(hint, jnp.nan, old))
  streams = method.signal(rows, jnp.int32(0)).streams
  loss = method.loss({"policy": {"logprobs": old, "entropies": old}}, rows, streams)
  np.testing.assert_allclose(loss.metrics["importance_weight"].value, 1.0, rtol=1e-6)
  assert np.isfinite(loss.terms["policy"].mean.value)


# Reductions.


def test_without_posterior_and_with_whole_hints_it_is_grpo_on_all_rows():
  rows = batch()
  targets = signal_of(rows, beta=0.0, hint_gradient="full").streams["policy"].targets
  pooled = grpo(rows.rewards, rows.group_ids, rows.scored)
  np.testing.assert_allclose(targets, np.tile(np.asarray(pooled)[:, None], WIDTH), rtol=1e-5)


# Edge cases.


def test_unscored_rows_count_for_nothing():
  scored = np.array([True] * 7 + [False])
  streams, metrics = signal_of(batch(helped=np.float32([1, 1, 0, np.nan]), reward_mask=scored))
  assert not streams["policy"].weights[7].any() and np.isfinite(streams["policy"].targets).all()
  np.testing.assert_allclose(metrics["hinted_reward"].value, 2 / 3, rtol=1e-6)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"hint_gradient": "half"}, "method.hint_gradient is one of modulated, consistency, selective, full, none, got"),
    ({"base": "both"}, "method.base is one of joint, separate, got 'both'"),
    ({"w_min": 0.9, "w_max": 0.1}, "method.w_min=0.9 is above method.w_max=0.1"),
    ({"old_logprobs": "sampler"}, "method.old_logprobs is one of trainer, got 'sampler'"),
  ],
)
def test_options_that_are_not_known_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(("option", "value"), [("w_max", 1.5), ("noise", -0.1), ("beta", -1.0), ("w_min", -0.5)])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(adhint, **{option: value}), adhint)


# Through the trainer.


def test_two_iterations():
  done = two_iterations("adhint", "method.w_min=0.4")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["hint_length"] >= 3).all() and (metrics["hint_logprob"] < 0).all()
