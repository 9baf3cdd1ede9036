"""CANON: halves of groups by hand and on the paper's examples, what is left of Dr. GRPO, and two iterations."""

from __future__ import annotations

import types

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import canon, dr_grpo
from rl_jax.methods.method import check_options
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

RNG = np.random.default_rng(0)


def batch(rewards, lengths=None, entropies=None, group_ids=None, **fields):
  """Rows with these lengths, or of four tokens with these mean entropies; garbage beside them."""
  rows = len(rewards)
  lengths = np.full(rows, 4) if lengths is None else np.array(lengths)
  mask = np.arange(lengths.max() + 1) < lengths[:, None]
  if entropies is not None:
    spread = np.resize([0.05, -0.05], mask.shape)
    fields["extras"] = {"old_entropies": np.where(mask, np.array(entropies)[:, None] + spread, 99.0)}
  group_ids = np.zeros(rows, int) if group_ids is None else np.array(group_ids)
  return batch_of(mask, rewards=np.array(rewards, np.float32), group_ids=group_ids, **fields)


def signal_of(trajectories, iteration=0, module=canon, **options):
  return module.build(config_of(module, **options), TASK).signal(trajectories, jnp.int32(iteration))


def advantages(trajectories, **options):
  stream = signal_of(trajectories, **options).streams["policy"]
  assert not np.asarray(stream.targets)[~np.asarray(trajectories.loss_mask)].any()
  return stream.targets[:, 0]


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    # C+ are the rows of 5 and 4 tokens: m+ = 1/2, m- = 3/4.
    ({"mu": 1.0}, [0.25, 0.5, -0.75, 0.0]),
    ({"mu": 0.0}, [0.5, 0.25, -0.5, -0.25]),
    ({"mu": 0.25}, [0.4375, 0.3125, -0.5625, -0.1875]),
    ({"mu": 1.0, "alpha": 0.5}, [-0.25, 0.75, -0.75, 0.25]),
    ({"mu": 1.0, "alpha": 0.5, "weighted": "lower"}, [0.625, 0.0, -0.375, -0.25]),
    ({"mu": 1.0, "beta": 0.125}, [0.375, 0.375, -0.625, -0.125]),
  ],
)
def test_advantages_by_length_by_hand(options, expected):
  trajectories = batch([1.0, 1.0, 0.0, 0.5], lengths=[5, 3, 4, 2])
  np.testing.assert_allclose(advantages(trajectories, metric="length", **options), expected, atol=1e-6)


def test_the_worked_example_by_entropy():
  trajectories = batch([1, 0, 1, 1], entropies=[0.2, 0.9, 0.4, 0.7])
  np.testing.assert_allclose(advantages(trajectories), [0.5, -1.0, 0.5, 0.0], atol=1e-6)
  np.testing.assert_allclose(advantages(trajectories, mu=0.0), [0.0, -0.5, 0.0, 0.5], atol=1e-6)
  np.testing.assert_allclose(advantages(trajectories, mu=0.5), [0.25, -0.75, 0.25, 0.25], atol=1e-6)
  metrics = signal_of(trajectories).metrics
  assert [float(metrics[name].value) for name in ("mu", "reward_upper", "reward_lower")] == [1.0, 0.5, 1.0]


def test_the_worked_example_by_length_and_the_division_by_the_response_limit():
  trajectories = batch([1, 1, 0, 1, 1, 0], lengths=[30, 12, 50, 41, 8, 19])
  task = types.SimpleNamespace(response_tokens=64, turns=None)
  method = canon.build(config_of(canon, metric="length", mu=0.5, alpha=0.9), task)
  streams = method.signal(trajectories, jnp.int32(0)).streams
  per_token = np.array([0.004427083, 0.005729167, -0.010416667, 0.004427083, 0.005729167, -0.009895833])
  np.testing.assert_allclose(streams["policy"].targets[:, 0] / 64, per_token, rtol=1e-5)
  zero = jnp.zeros(trajectories.tokens.shape)
  loss = method.loss({"policy": {"logprobs": zero, "entropies": zero}}, trajectories, streams).terms["policy"]
  expected = -(per_token * [30, 12, 50, 41, 8, 19]).sum() / 6
  np.testing.assert_allclose(loss.mean.value * loss.coefficient, expected, rtol=1e-5)


def test_a_negative_advantage_is_clipped_below_and_twice_above():
  """Row 1 has the advantage -1 at ratio 20: the dual clip bounds its loss at 3; row 0 has 1 at 20, clipped to 1.28."""
  trajectories = batch([1, 0], lengths=[2, 2])
  method = canon.build(config_of(canon, metric="length", aggregation_constant=2), TASK)
  streams = method.signal(trajectories, jnp.int32(0)).streams
  logprobs = jnp.full(trajectories.tokens.shape, np.log(20.0))
  loss = method.loss({"policy": {"logprobs": logprobs, "entropies": logprobs}}, trajectories, streams)
  np.testing.assert_allclose(loss.terms["policy"].mean.value, (-1.28 + 3) / 2, rtol=1e-5)


@pytest.mark.parametrize(
  ("options", "expected"),
  [
    ({"mixing": "cosine"}, {0: 1 / 30, 14: 0.5, 29: 1.0, 30: 1.0, 50: 0.7, 69: 0.40092, 70: 1.0}),
    ({"mixing": "cosine", "first": "intra"}, {0: 0.98, 29: 0.4, 30: 0.4, 50: 0.7, 70: 0.4}),
    ({"mixing": "cosine", "schedule_iterations": 6, "warmup_iterations": 2, "cycles": 1}, {1: 1.0, 4: 0.7}),
    ({"mixing": "accuracy"}, {0: 0.25, 99: 0.25}),
    ({"mixing": "accuracy", "first": "intra"}, {0: 0.75}),
  ],
)
def test_schedules_of_mu(options, expected):
  trajectories = batch([1, 0, 1, 1], lengths=[5, 3, 4, 2])
  inter, intra = (advantages(trajectories, metric="length", mu=mu) for mu in (1.0, 0.0))
  for iteration, mu in expected.items():
    signal = signal_of(trajectories, iteration, metric="length", **options)
    np.testing.assert_allclose(signal.metrics["mu"].value, mu, rtol=1e-4)
    mixed = mu * inter + (1 - mu) * intra
    np.testing.assert_allclose(signal.streams["policy"].targets[:, 0], mixed, atol=1e-4)


def test_even_halves_that_weigh_the_same_are_dr_grpo():
  trajectories = batch(RNG.normal(size=8), entropies=RNG.uniform(size=8), group_ids=[3, 3, 5, 3, 5, 5, 3, 5])
  plain = signal_of(trajectories, module=dr_grpo).streams["policy"]
  mixed = signal_of(trajectories, mu=0.5).streams["policy"]
  np.testing.assert_allclose(mixed.targets, plain.targets, atol=1e-6)
  np.testing.assert_array_equal(mixed.weights, plain.weights)
  odd = batch(RNG.normal(size=3), entropies=RNG.uniform(size=3))
  assert np.abs(advantages(odd, mu=0.5) - signal_of(odd, module=dr_grpo).streams["policy"].targets[:, 0]).max() > 0.01


def test_a_group_of_equal_rewards_has_no_advantage_but_that_of_alpha():
  trajectories = batch([1, 1, 1, 1], lengths=[5, 3, 4, 2])
  assert not np.asarray(advantages(trajectories, metric="length", mu=0.3)).any()
  tilted = advantages(trajectories, metric="length", mu=0.5, alpha=0.9)
  np.testing.assert_allclose(tilted, [-0.05, 0.05, -0.05, 0.05], atol=1e-6)
  assert not np.asarray(advantages(batch([0, 0, 0, 0], lengths=[5, 3, 4, 2]), metric="length", alpha=0.9)).any()


def test_halves_at_random_are_others_in_each_iteration():
  trajectories = batch(np.arange(16.0), lengths=np.arange(16) + 1)
  draws = [signal_of(trajectories, i, metric="random").streams["policy"].targets[:, 0] for i in (0, 1, 0)]
  np.testing.assert_array_equal(draws[0], draws[2])
  assert np.abs(draws[0] - draws[1]).max() > 0.1
  assert np.abs(draws[0] - advantages(trajectories, metric="length")).max() > 0.1


def test_unscored_rows_are_as_if_they_were_not_there():
  scored = np.array([True, False, True, True, True])
  some = batch([1, np.nan, 0, 1, 0.5], lengths=[5, 6, 4, 3, 2], reward_mask=scored)
  others = batch([1, 0, 1, 0.5], lengths=[5, 4, 3, 2])
  found, expected = (np.asarray(advantages(rows, metric="length", mu=0.75)) for rows in (some, others))
  np.testing.assert_allclose(found[scored], expected, atol=1e-6)
  assert found[1] == 0 and expected.any()


def test_only_the_entropy_is_scored():
  assert canon.build(config_of(canon), TASK).scoring == {"old_entropies": ("policy", "entropies")}
  assert canon.build(config_of(canon, metric="length"), TASK).scoring == {}


@pytest.mark.parametrize(
  ("options", "said"),
  [
    ({"metric": "reward"}, "method.metric is one of length, entropy, random"),
    ({"mixing": "linear"}, "method.mixing is one of constant, accuracy, cosine"),
    ({"first": "both"}, "method.first is one of inter, intra"),
    ({"weighted": "long"}, "method.weighted is one of upper, lower"),
    ({"schedule_iterations": 32}, "method.schedule_iterations=32: too few for method.cycles"),
  ],
)
def test_an_option_that_is_not_known_is_one_line(options, said):
  with pytest.raises(ValueError, match=said) as error:
    canon.build(config_of(canon, **options), TASK)
  assert "\n" not in str(error.value)


@pytest.mark.parametrize("options", [{"mu": 1.5}, {"alpha": 0.0}, {"cycles": 0}, {"beta": np.inf}])
def test_a_number_that_makes_no_sense_is_one_line(options):
  with pytest.raises(UserError, match=f"method.{next(iter(options))}: want .*, got") as error:
    check_options(config_of(canon, **options), canon)
  assert "\n" not in str(error.value)


def test_two_iterations_compare_halves_by_the_entropies_of_the_policy():
  done = two_iterations("canon")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["mu"] == 1).all()
    # Halves are equal, so that their means average to that of all.
    np.testing.assert_allclose((metrics["reward_upper"] + metrics["reward_lower"]) / 2, metrics["reward"], atol=1e-6)
  assert any((metrics["reward_upper"] != metrics["reward_lower"]).any() for metrics in done.metrics)
