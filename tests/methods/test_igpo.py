"""IGPO: the spec's worked example, telescoping, tools without credit, and two iterations of training."""

from __future__ import annotations

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.methods import igpo
from rl_jax.rollouts import turns
from rl_jax.tasks.task import ForcedAnswer, Turns
from rl_jax.training import iteration, mesh
from rl_jax.training.trainer import Trainer
from rl_jax.trajectories import TOOL
from tests.methods.batches import batch_of, config_of
from tests.methods.counting import counted
from tests.methods.two_iterations import Done, assert_whole
from tests.rollouts.test_turns import OVERRIDES

LAYOUT = Turns(max_turns=3, turn_tokens=2, observation_tokens=1)
TASK = types.SimpleNamespace(
  response_tokens=8, prompt_tokens=1, turns=LAYOUT, forced_answer=ForcedAnswer((9,), lambda prompts: None)
)
# The spec's group: gains .2, .1 and outcome 1; -.1, 0 and 0; .3 and .5 in two turns. The last belief is no one's gain.
BELIEFS = np.array([[0.1, 0.3, 0.4], [0.5, 0.4, 0.4], [0.2, 0.5, 0.9]], np.float32)
EXISTS = np.array([[1, 1, 1], [1, 1, 1], [1, 1, 0]], bool)
ADVANTAGES = {
  "joint": [[1.25964782, 1.56524285, 2.23606121], [-2.31805012, -1.41617210, -0.74535374], [0.81988911, 0.74535374, 0]],
  "separate": [
    [1.69914249, 1.10226765, 1.22474183],
    [-3.04263554, -1.80936926, -1.22474183],
    [1.41420320, 0, 0],
  ],
}
TURN_IDS = np.array([0, *LAYOUT.turn_ids])
OF_POLICY = np.array([False, *~LAYOUT.observed])


def batch(**fields):
  there = np.repeat(EXISTS, 3, axis=1)[:, :8]
  mask = np.concatenate([np.ones((3, 1), bool), there], axis=1)
  extras = {
    "probe_mask": EXISTS,
    "probe_answer_logprobs": np.log(BELIEFS)[..., None],
    "probe_answer_mask": np.ones((3, 1), bool),
  }
  given = {
    "attention_mask": mask, "turn_ids": np.tile(TURN_IDS, (3, 1)), "rewards": np.float32([1, 0, 0.5]),
    "source_ids": np.tile(np.where(OF_POLICY, 0, TOOL), (3, 1)), "extras": extras,
  }  # fmt: skip
  return batch_of(mask & OF_POLICY, **given | fields)


def signal_of(trajectories, iteration=0, **options):
  return igpo.build(config_of("igpo", **options), TASK).signal(trajectories, jnp.int32(iteration))


def stream_of(trajectories, iteration=0, **options):
  return signal_of(trajectories, iteration, **options).streams["policy"]


@pytest.mark.parametrize("mode", ADVANTAGES)
def test_the_worked_example_of_the_spec(mode):
  stream = stream_of(batch(), normalization=mode, discount=0.9)
  wanted = np.where(batch().loss_mask, np.array(ADVANTAGES[mode])[:, TURN_IDS], 0)
  np.testing.assert_allclose(stream.targets, wanted, atol=1e-4)


def test_tools_and_prompts_have_no_credit_and_no_weight():
  stream = stream_of(batch())
  np.testing.assert_array_equal(stream.weights, batch().loss_mask)
  assert not np.asarray(stream.targets)[:, ~OF_POLICY].any()
  turns_of_policy = np.asarray(stream.targets)[:, OF_POLICY].reshape(3, 3, 2)
  np.testing.assert_array_equal(turns_of_policy[..., 0], turns_of_policy[..., 1])


def test_gains_add_up_to_the_rise_of_belief():
  """With differences of probabilities, no discount and no normalisation; the last turn's own gain is left out."""
  last = EXISTS.sum(axis=1) - 1
  for row in range(3):
    rows = batch(row_mask=np.arange(3) == row)
    gain = signal_of(rows, normalization="separate", scale=False).metrics["information_gain"]
    np.testing.assert_allclose(gain.sum, BELIEFS[row, last[row]] - BELIEFS[row, 0], atol=1e-6)
    assert gain.weight == last[row]


def test_unscored_rows_and_turns_that_are_not_there_count_for_nothing():
  spoilt = batch().extras | {"probe_answer_logprobs": np.log(BELIEFS)[..., None].copy()}
  spoilt["probe_answer_logprobs"][2] = np.nan
  signal = signal_of(batch(extras=spoilt, reward_mask=np.array([1, 1, 0], bool), rewards=np.float32([1, 0, np.nan])))
  alone = signal_of(batch(row_mask=np.array([1, 1, 0], bool)))
  stream = signal.streams["policy"]
  np.testing.assert_array_equal(stream.targets, alone.streams["policy"].targets)
  assert not stream.weights[2].any() and np.isfinite(stream.targets).all()
  assert jax.tree.map(float, signal.metrics) == jax.tree.map(float, alone.metrics)


def test_a_group_that_fails_has_a_gradient_all_the_same():
  signal = signal_of(batch(rewards=np.zeros(3, np.float32)))
  assert signal.metrics["zero_advantage"].value == 0 and np.ptp(signal.streams["policy"].targets[:, 1]) > 0.5


def test_the_weights_of_a_curriculum_move_from_gains_to_outcomes():
  none = stream_of(batch(), scale=False).targets
  start, end = (stream_of(batch(), number, scale=False, curriculum_iterations=10).targets for number in (0, 99))
  last = lambda x: np.asarray(x)[:2, -1]  # the outcome alone: its deviation from the group's mean
  assert np.ptp(last(start)) == pytest.approx(0.5 * np.ptp(last(none)), rel=1e-5)
  assert np.ptp(last(end)) == pytest.approx(np.ptp(last(none)), rel=1e-5)


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    igpo.build(config_of("igpo"), types.SimpleNamespace(response_tokens=4, turns=None))


@functools.cache
def trained() -> Done:
  config = configs.resolve("experiments/igpo.py:smoke", [*OVERRIDES, "prompts_per_iteration=8"])
  experiment = initialization.build(config)
  trainer = Trainer(experiment, mesh.make_mesh(experiment.config.mesh))
  before = jax.device_get(trainer.state)
  with counted(turns) as counts, mesh.use(trainer.mesh, trainer.experiment.rules):
    trainer.loop.programs = {"run": jax.jit(lambda state: iteration.run(experiment, state))}
    metrics = trainer.advance().metrics
  return Done(trainer, before, metrics, sum(counts))


def test_two_iterations_count_all_turns_and_agree_with_the_sampler():
  done = trained()
  assert_whole(done)
  assert all((m["information_gain"] != 0).all() for m in done.metrics), "there are second turns"
  assert all((m["zero_advantage"] < 1).all() for m in done.metrics)
