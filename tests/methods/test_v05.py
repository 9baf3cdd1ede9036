"""V0.5: worked examples, what its metrics count, the prior's loss, noise of the gradient beside GRPO's, iterations."""

from __future__ import annotations

import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.kernels.advantages.group import dr_grpo
from rl_jax.kernels.advantages.prior import v05 as v05_advantages
from rl_jax.methods import v05
from rl_jax.methods._priors import PRIORS
from rl_jax.methods.method import check_options
from rl_jax.rollouts.rollout import BoundModel, assemble
from tests.kernels.numerics import finite_difference
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations
from tests.training import small

SIGNED = {"lowest_reward": -1.0, "highest_reward": 1.0}


def task():
  return types.SimpleNamespace(**vars(TASK), levels=("one", "two"), vocabulary="abcde")


def built(**options):
  return v05.build(config_of(v05, **options), task())


def batch(rewards, priors, ids, **fields):
  """Rows of two tokens."""
  rewards, scored = np.float32(rewards), fields.get("reward_mask", np.ones(len(rewards), bool))
  sizes = np.array([np.sum(scored & (np.array(ids) == own)) for own in ids])
  extras = {"priors": np.float32(priors), "prompt_weights": np.where(scored, 1 / np.maximum(sizes, 1), 0)}
  return batch_of(np.ones((len(rewards), 2), bool), rewards=rewards, group_ids=ids, extras=extras, **fields)


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """Four right answers against -0.6 are moved to 0.84375; two of 0.5 on average against 0.3 leave the prior."""
  rows = batch([1, 1, 1, 1, 1, 0], [-0.6] * 4 + [0.3] * 2, [7, 7, 7, 7, -2, -2])
  streams, metrics = built(**SIGNED).signal(rows, jnp.int32(0))
  np.testing.assert_allclose(streams["policy"].targets, np.tile([[0.15625]] * 4 + [[0.7], [-0.3]], 2), rtol=1e-5)
  expected = {
    "prior": (-0.6 + 0.3) / 2,
    "prior_error": (1.6**2 + 0.2**2) / 2,
    "sample_weight": 0.902343750 / 2,
    "baseline_error": 0.225585938 / 2,
  }
  for name, value in expected.items():
    np.testing.assert_allclose(metrics[name].value, value, rtol=1e-5, err_msg=name)


def test_rewards_of_zero_and_one_are_half_of_it():
  streams, metrics = built().signal(batch([1] * 4, [0.2] * 4, [7] * 4), jnp.int32(0))
  np.testing.assert_allclose(streams["policy"].targets, np.full((4, 2), 0.15625 / 2), rtol=1e-5)
  np.testing.assert_allclose(metrics["baseline_error"].value, 0.225585938 / 4, rtol=1e-5)


@pytest.mark.parametrize(("options", "scale"), [({}, 0.25), (SIGNED, 1.0)])
def test_the_rule_is_scaled_as_the_rewards_are(options, scale, monkeypatch):
  told = {}
  monkeypatch.setattr(v05, "look_ahead", lambda *arguments, **more: told.update(more))
  built(rounds=3, **options)
  np.testing.assert_allclose((told["cost"], told["noise_variance"]), (0.0039 * scale, scale))
  assert (told["rounds"], told["rows_per_round"], told["k_max"]) == (3, 2, 16)


def test_the_loss_of_a_model_prior_counts_every_prompt_once():
  """Three rows of one prompt, one of another, one unscored; the head is read after the prompt's last token."""
  rewards, mask = np.float32([1, 0, 0.5, 1, np.nan]), np.array([True] * 4 + [False])
  rows = batch(rewards, [0.5] * 5, [3, 3, 3, 8, 8], reward_mask=mask)
  rows = rows.replace(prompt_width=1)
  logits = np.random.default_rng(0).normal(size=5).astype(np.float32)
  loss = built(prior="model").models["prior"].loss

  def total(z):
    values = jnp.full((5, 2), 9.0).at[:, 1].set(z)
    (term,) = loss({"prior": {"values": values}}, rows).terms.values()
    assert term.trains == "prior"
    return term.mean.value

  def loop(z):
    chances = 1 / (1 + np.exp(-z[:4]))
    each = -rewards[:4] * np.log(chances) - (1 - rewards[:4]) * np.log(1 - chances)
    return (each[:3].mean() + each[3]) / 2

  np.testing.assert_allclose(total(jnp.asarray(logits)), loop(np.float64(logits)), rtol=1e-5)
  np.testing.assert_allclose(
    jax.grad(total)(jnp.asarray(logits))[:4], finite_difference(loop, np.float64(logits))[:4], rtol=1e-4
  )
  assert jax.grad(total)(jnp.asarray(logits))[4] == 0


def test_a_model_prior_reads_the_same_state_before_and_after_the_rollout():
  """Its value of a bare prompt is that of the first slot of a response."""
  experiment = small.make_experiment("method.name=rl_jax.methods.v05", "method.prior=model", "num_seeds=1")
  estimator, task = PRIORS["model"](experiment.config, experiment.task).estimator, experiment.task

  @jax.jit
  def both(key):
    model = experiment.models["prior"]
    bound = BoundModel(model, nn.unbox(model.init(key)))
    prompts = task.prompts(jnp.arange(3), "train")
    shape = 6, task.response_tokens
    tokens, mask = jax.random.randint(key, shape, 2, 9), jnp.arange(shape[1]) < jnp.arange(1, 7)[:, None]
    every, no = jnp.ones(6, bool), jnp.zeros(6, bool)
    rows = assemble(prompts, tokens, mask, completions_per_prompt=2, row_mask=every, truncated=no)
    values = bound.model.outputs(bound.params, rows)["values"][:, rows.prompt_width]
    return estimator.values({"prior": bound}, (), prompts), jax.nn.sigmoid(values)

  before, after = both(jax.random.key(0))
  np.testing.assert_allclose(np.repeat(before, 2), after, rtol=1e-5)
  assert np.ptp(before) > 1e-3


# Noise of the gradient.

COINS = 1000


def noise(rng, chances, responses, advantages_of):
  """Variance of a coin's gradient per response, over the square of the mean gradient.

  A coin is a policy of chance p, whose gradient by its logit is the mean of A_i (r_i - p) over its responses.
  """
  rewards = (rng.random((20, COINS, responses)) < chances[:, None]).astype(np.float32)
  ids, every = jnp.repeat(jnp.arange(COINS), responses), jnp.ones(COINS * responses, bool)
  credit = np.stack([advantages_of(jnp.asarray(x.ravel()), ids, every) for x in rewards]).reshape(rewards.shape)
  gradients = (credit * (rewards - chances[:, None])).mean(axis=2)
  return responses * gradients.var(axis=0, ddof=1).mean() / np.square(gradients.mean())


def test_four_responses_with_a_prior_are_less_noisy_than_four_and_each_no_more_than_one_of_sixteen():
  """GRPO's without a division by the std, whose mean gradient is (1 - 1/k) p (1 - p): its own reward is in its mean."""
  rng, chances = np.random.default_rng(0), np.linspace(0.02, 0.98, COINS, dtype=np.float32)
  priors = np.clip(chances + rng.normal(0, 0.1, COINS), 0, 1).astype(np.float32)
  fused = lambda rewards, ids, mask: v05_advantages(rewards, jnp.asarray(priors)[ids], ids, mask, noise_variance=0.25)
  four, sixteen = (noise(rng, chances, responses, dr_grpo) for responses in (4, 16))
  with_prior = noise(rng, chances, 4, fused)
  np.testing.assert_allclose([four, sixteen, with_prior], [1.94, 1.3, 1.25], rtol=0.05)
  assert with_prior < 0.7 * four and with_prior < 1.02 * sixteen


# Reductions.


def test_a_constant_prior_that_stands_is_a_constant_baseline():
  """Means of 1/2 and 3/4 are within 1/4 of 1/2: the advantage is the reward less 1/2, whatever the group's mean."""
  rewards, ids = [1, 0, 0, 1, 1, 1, 0, 1], [0] * 4 + [1] * 4
  streams, metrics = built(prior="constant").signal(batch(rewards, [0.5] * 8, ids), jnp.int32(0))
  np.testing.assert_array_equal(streams["policy"].targets[:, 0], np.float32(rewards) - 0.5)
  assert metrics["sample_weight"].value == 0


# Edge cases.


def test_unscored_rows_count_for_nothing():
  rows = batch([1, 0, np.nan], [0.2, 0.2, 0.2], [5, 5, 5], reward_mask=np.array([True, True, False]))
  streams, metrics = built().signal(rows, jnp.int32(0))
  np.testing.assert_allclose(streams["policy"].targets[:, 0], [0.8, -0.2, 0], rtol=1e-6)
  assert not streams["policy"].weights[2].any()
  np.testing.assert_allclose(metrics["prior_error"].value, 0.3**2, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"prior": "oracle"}, "method.prior is one of constant, running, regression, model, got 'oracle'"),
    ({"lowest_reward": 1.0}, "method.highest_reward=1.0 is not above lowest_reward=1.0"),
    ({"prior_start": 1.5}, "method.prior_start=1.5 is no reward from 0.0 to 1.0"),
    ({"prior_start": -0.5}, "method.prior_start=-0.5 is no reward from 0.0 to 1.0"),
    ({"rows_per_round": 1000}, "method.rows_per_round=1000 are more than k_max for each prompt: take "),
    ({"k_max": 1}, "k_max=1: want at least completions_per_prompt=2, the first round"),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


@pytest.mark.parametrize(
  ("option", "value"), [("cost", -1.0), ("prior_decay", 1.0), ("prior_strength", 0.0), ("rows_per_round", 0)]
)
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want"):
    check_options(config_of(v05, **{option: value}), v05)


# Through the trainer.


def test_two_iterations():
  done = two_iterations("v05", "method.rounds=1")
  assert_whole(done)
  first, second = done.metrics
  np.testing.assert_array_equal(first["prior"], [0.5, 0.5])
  assert ((second["prior"] >= 0.5 / 3) & (second["prior"] <= 2.5 / 3)).all(), "of 1/2 and the means of two prompts"
  assert (second["prior"] != 0.5).any()
  for metrics in done.metrics:
    assert ((metrics["rows_per_prompt"] >= 4) & (metrics["rows_per_prompt"] <= 5)).all()


@pytest.mark.slow
def test_two_iterations_with_a_model_that_learns():
  """The model moves by a loss of its own, and its second priors are others."""
  done = two_iterations("v05", "method.prior=model", "method.rounds=1", "method.prior_learning_rate=0.1")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["prior/gradient_norm"] > 0).all() and (metrics["prior/loss/prior"] > 0).all()
    assert ((0 < metrics["prior"]) & (metrics["prior"] < 1)).all()
  first, second = done.metrics
  assert (first["prior"] != second["prior"]).all()
