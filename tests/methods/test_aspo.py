"""ASPO: the spec's worked example, its bounds, delta 0 as GRPO, the reward that it replaces, and two iterations."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import initialization
from rl_jax.methods import aspo, grpo
from rl_jax.methods.method import check_options
from rl_jax.rollouts import turns
from rl_jax.training import iteration, mesh
from rl_jax.training.trainer import Trainer
from tests.commands import SMALL
from tests.methods.batches import TASK, batch_of, config_of
from tests.methods.counting import counted
from tests.methods.two_iterations import Done, assert_whole, even

REWARDS = np.float32([1, 1, 0, 1])
CALLS = np.int32([10, 60, 20, -1])
LENGTHS = np.array([100, 120, 90, 80])
PLAIN = np.array([0.499999, 0.499999, -1.499997, 0.499999])
RNG = np.random.default_rng(0)


def batch(rewards=REWARDS, calls=CALLS, lengths=LENGTHS, **fields):
  given = {"rewards": rewards, "group_ids": np.zeros(len(rewards), int), "extras": {"first_call": calls}}
  return batch_of(np.arange(120) < np.asarray(lengths)[:, None], **given | fields)


def built(module=aspo, **options):
  return module.build(config_of(module, **options), TASK)


def signal_of(trajectories, module=aspo, **options):
  return built(module, **options).signal(trajectories, jnp.int32(0))


def advantages_of(trajectories, **options):
  return np.asarray(signal_of(trajectories, **options).streams["policy"].targets)[:, 0]


# Hand-computed.


def test_the_worked_example_of_the_spec():
  """E are the first two: mean p 35, mean L 110, so the bias is 2 x 25 / 110 before the clip at 0.7 x 0.499999."""
  streams, metrics = signal_of(batch())
  wanted = [0.849998, 0.150000, -1.499997, 0.499999]
  np.testing.assert_allclose(streams["policy"].targets[:, 0], wanted, atol=2e-6)
  np.testing.assert_array_equal(streams["policy"].weights, batch().loss_mask)
  values = {name: float(mean.value) for name, mean in metrics.items()}
  assert values == pytest.approx({"calls": 0.75, "first_call": 30, "shaped": 0.5, "wronged": 0})


def test_the_bias_within_its_bounds_is_the_share_of_the_length():
  for options, bias in (({"strength": 0.95}, 0.454545), ({"delta": -1.0}, 0.227273), ({"delta": 1.0}, -0.227273)):
    np.testing.assert_allclose(advantages_of(batch(), **options)[:2], [0.499999 + bias, 0.499999 - bias], atol=2e-6)


def test_the_reward_that_it_replaces_by_hand():
  """R is 1 + 0.5 x 0.707107, 1 - 0.5 x 0.707107, 0 and 1, and the advantage that of GRPO."""
  rewards = np.array([1.353553, 0.646446, 0, 1])
  wanted = (rewards - rewards.mean()) / rewards.std(ddof=1)
  streams, metrics = signal_of(batch(), shaping="reward")
  np.testing.assert_allclose(streams["policy"].targets[:, 0], wanted, atol=1e-5)
  assert float(metrics["wronged"].value) == pytest.approx(1 / 3) and float(metrics["shaped"].value) == 1
  clipped = np.array([1.25, 0.75, 0, 1])
  wanted = (clipped - clipped.mean()) / clipped.std(ddof=1)
  np.testing.assert_allclose(advantages_of(batch(), shaping="reward", reward_clip=0.5), wanted, atol=1e-5)


def test_in_a_group_that_is_all_right_the_reward_punishes_late_calls_and_the_advantage_does_nothing():
  rows = batch(rewards=np.ones(4, np.float32), calls=np.int32([0, 40, 80, 120]))
  assert not advantages_of(rows).any()
  punished = advantages_of(rows, shaping="reward")
  assert punished.std(ddof=1) == pytest.approx(1, rel=1e-4) and (punished[2:] < -0.4).all()
  assert float(signal_of(rows, shaping="reward").metrics["wronged"].value) == 0.5


# Reductions.


@pytest.mark.parametrize("options", [{"delta": 0.0}, {"strength": 0.0}, {"shaping": "reward", "reward_delta": 0.0}])
def test_without_shaping_it_is_grpo(options):
  trajectories = batch(old_logprobs=RNG.normal(-1, 0.3, (4, 120)).astype(np.float32))
  outputs = {"policy": {"logprobs": np.full((4, 120), -1, np.float32), "entropies": np.ones((4, 120), np.float32)}}
  losses = []
  of_grpo = {"kl_coefficient": 0.0, "aggregation": "token_mean", "clip_low": 0.2, "clip_high": 0.28}
  for module, own in ((aspo, options), (grpo, of_grpo)):
    method = built(module, **own)
    streams = method.signal(trajectories, jnp.int32(0)).streams
    losses.append(float(method.loss(outputs, trajectories, streams).terms["policy"].mean.value))
  assert losses[0] == pytest.approx(losses[1], rel=1e-6) and losses[0] != 0


# Invariants.


def test_signs_stay_and_the_bias_is_at_most_k_of_the_advantage():
  rows = 400
  rewards = (RNG.uniform(size=rows) < 0.5).astype(np.float32)
  calls = np.where(RNG.uniform(size=rows) < 0.8, RNG.integers(0, 100, rows), -1)
  trajectories = batch(rewards, calls, RNG.integers(1, 120, rows), group_ids=np.arange(rows) // 8)
  plain, shaped = advantages_of(trajectories, delta=0.0), advantages_of(trajectories)
  np.testing.assert_array_equal(np.sign(shaped), np.sign(plain))
  assert (np.abs(shaped - plain) <= 0.7 * np.abs(plain) + 1e-6).all()
  unchanged = (rewards == 0) | (calls < 0)
  np.testing.assert_array_equal(shaped[unchanged], plain[unchanged])
  assert (shaped != plain).mean() > 0.2


# Edge cases.


@pytest.mark.parametrize("shaping", ["advantage", "reward"])
@pytest.mark.parametrize("calls", [[-1] * 4, [-1, 7, 3, -1]])
def test_less_than_two_correct_calls_change_nothing(shaping, calls):
  np.testing.assert_allclose(advantages_of(batch(calls=np.int32(calls)), shaping=shaping), PLAIN, atol=2e-6)


def test_no_call_at_all_leaves_metrics_finite():
  metrics = signal_of(batch(calls=np.int32([-1] * 4))).metrics
  assert float(metrics["calls"].value) == 0 and np.isfinite(metrics["first_call"].value)


@pytest.mark.parametrize("shaping", ["advantage", "reward"])
def test_unscored_rows_count_for_nothing(shaping):
  scored = np.array([True, True, True, False, True])
  rewards, calls = np.float32([1, 1, 0, np.nan, 1]), np.int32([10, 60, 20, 0, -1])
  spoilt = batch(rewards, calls, [100, 120, 90, 5, 80], reward_mask=scored)
  stream = signal_of(spoilt, shaping=shaping).streams["policy"]
  np.testing.assert_allclose(stream.targets[scored][:, 0], advantages_of(batch(), shaping=shaping), atol=1e-6)
  assert not stream.weights[3].any() and not stream.targets[3].any()


def test_a_shaping_that_is_not_known_is_refused():
  with pytest.raises(ValueError, match="method.shaping is one of advantage, reward, got 'penalty'"):
    built(shaping="penalty")


@pytest.mark.parametrize(("option", "value"), [("strength", 1.0), ("reward_clip", 0.0), ("delta", float("nan"))])
def test_numbers_out_of_range_are_refused(option, value):
  with pytest.raises(UserError, match=f"method.{option}: want a finite number"):
    check_options(config_of(aspo, **{option: value}), aspo)


def test_a_task_without_calls_is_one_line():
  with pytest.raises(UserError, match="requires first_call of the task"):
    initialization.build(configs.resolve("experiments/grpo.py:smoke", ["method.name=rl_jax.methods.aspo"]))


@functools.cache
def trained() -> Done:
  small = [override for override in SMALL if not override.startswith("task.")]
  overrides = [*small, "prompts_per_iteration=8", "task.thinking=3", "init_from="]
  config = configs.resolve("experiments/aspo.py:smoke", overrides)
  experiment = initialization.build(config)
  experiment = dataclasses.replace(experiment, task=even(experiment.task))
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  before = jax.device_get(trainer.state)
  with counted(turns) as counts, mesh.use(trainer.mesh, trainer.experiment.rules):
    trainer.loop.programs = {"run": jax.jit(lambda state: iteration.run(experiment, state))}
    metrics = trainer.advance().metrics
  return Done(trainer, before, metrics, sum(counts))


def test_two_iterations_call_early_and_late():
  done = trained()
  assert_whole(done)
  for metrics in done.metrics:
    assert ((0 < metrics["calls"]) & (metrics["calls"] < 1)).all() and (metrics["first_call"] >= 0).all()
