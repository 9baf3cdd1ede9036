"""DVAO: the spec's worked example, its propositions, one reward as GRPO, and two iterations."""

from __future__ import annotations

import types

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import dvao, grpo
from rl_jax.methods.method import check_options
from tests.methods import batches
from tests.methods.batches import batch_of, config_of
from tests.methods.two_iterations import assert_whole, two_iterations

TASK = types.SimpleNamespace(**vars(batches.TASK), objectives=("answer", "length"))
OBJECTIVES = np.float32([[1, 1], [1, 0], [0, 1], [0, 1]])
RNG = np.random.default_rng(0)
COMBINATIONS = ("dvao", *dvao.BASELINES)


def batch(objectives=OBJECTIVES, **fields):
  rows = len(objectives)
  mask = np.arange(3) < np.array([3, 2, 1, 3] * (rows // 4))[:, None]
  given = {"objectives": objectives, "rewards": objectives[:, 0], "group_ids": np.repeat(np.arange(rows // 4) - 1, 4)}
  return batch_of(mask, **given | fields)


def built(task=TASK, **options):
  return dvao.build(config_of(dvao, **options), task)


def advantages_of(trajectories, task=TASK, **options):
  return np.asarray(built(task, **options).signal(trajectories, jnp.int32(0)).streams["policy"].targets)[:, 0]


def metrics_of(trajectories, **options):
  metrics = built(**options).signal(trajectories, jnp.int32(0)).metrics
  return {name: float(mean.value) for name, mean in metrics.items()}


# Hand-computed.


@pytest.mark.parametrize(
  ("combination", "wanted"),
  [
    ("dvao", [0.696150, -0.232050, -0.232050, -0.232050]),
    ("rewards", [1.499994, -0.499998, -0.499998, -0.499998]),
    ("advantages", [0.683011, -0.316987, -0.183012, -0.183012]),
    ("gdpo", [1.485459, -0.689367, -0.398046, -0.398046]),
  ],
)
def test_the_worked_example_of_the_spec(combination, wanted):
  stream = built(combination=combination).signal(batch(), jnp.int32(0)).streams["policy"]
  np.testing.assert_allclose(stream.targets, np.where(batch().loss_mask, np.array(wanted)[:, None], 0), atol=2e-6)
  np.testing.assert_array_equal(stream.weights, batch().loss_mask)


def test_metrics_of_the_worked_example():
  metrics = metrics_of(batch())
  np.testing.assert_allclose(metrics["weight/answer"], 0.535897, atol=1e-6)
  np.testing.assert_allclose(metrics["weight/length"], 0.464101, atol=1e-6)
  np.testing.assert_allclose(metrics["squared_advantage"], (0.696150**2 + 3 * 0.232050**2) / 4, atol=1e-6)
  assert set(metrics_of(batch(), combination="rewards")) == {"squared_advantage"}


def test_weights_multiply_the_spread():
  """0.8 x 0.577350 against 0.2 x 0.5, however the four weights of both are scaled."""
  metrics = metrics_of(batch(), weights=(4.0, 1.0))
  share = 0.8 * 0.577350 / (0.8 * 0.577350 + 0.2 * 0.5)
  np.testing.assert_allclose(metrics["weight/answer"], share, atol=1e-5)
  np.testing.assert_allclose(metrics_of(batch(), weights=(0.8, 0.2))["weight/answer"], share, atol=1e-5)


# Reductions.


@pytest.mark.parametrize("combination", ["dvao", "rewards", "advantages"])
def test_one_reward_is_grpo(combination):
  task = types.SimpleNamespace(**vars(batches.TASK), objectives=("answer",))
  objectives = RNG.normal(size=(12, 1)).astype(np.float32)
  rows = batch(objectives)
  method = grpo.build(config_of(grpo, kl_coefficient=0.0), batches.TASK)
  wanted = method.signal(rows, jnp.int32(0)).streams["policy"].targets[:, 0]
  np.testing.assert_allclose(advantages_of(rows, task, combination=combination), wanted, rtol=1e-5)


def test_an_objective_without_spread_leaves_its_weight_and_halves_the_fixed_ones():
  rows = batch(np.float32([[1, 1], [1, 1], [0, 1], [0, 1]]))
  adaptive, fixed = (advantages_of(rows, combination=name) for name in ("dvao", "advantages"))
  np.testing.assert_allclose(adaptive, np.array([1, 1, -1, -1]) * 0.75**0.5, rtol=1e-4)
  np.testing.assert_allclose(fixed, adaptive / 2, rtol=1e-4)
  assert metrics_of(rows)["weight/length"] == 0


# Invariants.


def test_it_is_never_larger_than_the_sum_of_rewards_that_is_normalised():
  objectives = (RNG.uniform(size=(400, 2)) < [0.4, 0.8]).astype(np.float32)
  for weights in ((1.0, 1.0), (1.0, 3.0)):
    small, large = (advantages_of(batch(objectives), combination=n, weights=weights) for n in ("dvao", "rewards"))
    assert (np.abs(small) <= np.abs(large) + 1e-5).all() and (np.abs(small) < np.abs(large) - 0.1).any()
    assert (np.sign(small) == np.sign(large)).mean() > 0.99
  means = [metrics_of(batch(objectives), combination=name)["squared_advantage"] for name in ("dvao", "rewards")]
  assert means[0] < means[1] - 0.05


def test_it_is_the_same_size_where_rewards_agree_and_nothing_where_they_are_opposed():
  same = batch(np.float32([[1, 1], [0, 0], [0, 0], [1, 1]]))
  small, large = (advantages_of(same, combination=name) for name in ("dvao", "rewards"))
  np.testing.assert_allclose(small, large, rtol=1e-5)
  opposed = batch(np.float32([[1, 0], [0, 1], [0, 1], [1, 0]]))
  for combination in COMBINATIONS:
    np.testing.assert_allclose(advantages_of(opposed, combination=combination), 0, atol=1e-6)


# Edge cases.


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_groups_of_equal_rewards_have_no_advantage(combination):
  assert not advantages_of(batch(np.ones((4, 2), np.float32)), combination=combination).any()


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_unscored_rows_count_for_nothing(combination):
  scored = np.arange(8) != 2
  objectives = np.concatenate([OBJECTIVES, OBJECTIVES[::-1]])
  spoilt = batch(np.where(scored[:, None], objectives, np.nan).astype(np.float32), reward_mask=scored)
  method, alone = built(combination=combination), batch(objectives, row_mask=scored)
  stream, metrics = method.signal(spoilt, jnp.int32(0))
  np.testing.assert_allclose(stream["policy"].targets[:, 0], advantages_of(alone, combination=combination), atol=1e-6)
  assert not stream["policy"].weights[2].any() and np.isfinite(stream["policy"].targets).all()
  assert np.isfinite(metrics["squared_advantage"].value)


def test_a_group_of_one_has_no_advantage():
  assert not advantages_of(batch(reward_mask=np.arange(4) == 0)).any()


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"combination": "sum"}, "method.combination is one of dvao, rewards, advantages, gdpo, got 'sum'"),
    ({"weights": (1.0,)}, r"method.weights=\(1.0,\): give one for each of answer, length"),
    ({"weights": (0.0, 0.0)}, "one of them above 0"),
  ],
)
def test_options_that_make_no_sense_are_refused(options, message):
  with pytest.raises(ValueError, match=message):
    built(**options)


def test_numbers_out_of_range_are_refused():
  with pytest.raises(UserError, match=r"method.weights\[1\]: want a finite number at least 0"):
    check_options(config_of(dvao, weights=(1.0, -1.0)), dvao)


def test_a_task_without_objectives_is_one_line():
  with pytest.raises(ValueError, match="this task has no objectives"):
    built(types.SimpleNamespace(**vars(batches.TASK), objectives=()))


def test_two_iterations():
  done = two_iterations("dvao", of="dvao")
  assert_whole(done)
  for metrics in done.metrics:
    assert (metrics["part/answer"] == metrics["reward"]).all() and (metrics["weight/answer"] > 0.2).all()
    assert (metrics["squared_advantage"] > 0.1).all()
  assert any((metrics["weight/length"] > 0).any() for metrics in done.metrics), "some are short"
