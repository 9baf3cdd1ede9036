"""Signals of GiGPO, MT-GRPO and turn GAE, by hand on a small batch of episodes of turns."""

from __future__ import annotations

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.methods import gigpo, mt_grpo, turn_gae
from rl_jax.tasks.task import Turns
from rl_jax.trajectories import TOOL
from tests.methods.batches import batch_of, config_of

METHODS = {"gigpo": gigpo, "mt_grpo": mt_grpo, "turn_gae": turn_gae}
PAPERS = {"gigpo": ("2505.10978",), "mt_grpo": ("2505.11821",), "turn_gae": ("2504.20073",)}
LAYOUT = Turns(max_turns=2, turn_tokens=2, observation_tokens=1)
TASK = types.SimpleNamespace(response_tokens=5, prompt_tokens=1, turns=LAYOUT, step_values=None)
# Four episodes of one prompt: turns of 2 and 2 tokens, 2 and 1, one turn of 2, and an unscored one.
TURN_IDS = np.array([0, *LAYOUT.turn_ids])
OF_POLICY = np.array([False, *~LAYOUT.observed])
WRITTEN = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]], bool)
EXISTS = np.array([[1, 1], [1, 1], [1, 0], [0, 0]])
STATES = np.array([[0, 4, 9], [0, 0, 9], [0, 7, -1], [0, 4, 9]], np.int32)
TURN_REWARDS = np.array([[0.5, 0.5], [0.25, 0.0], [0.0, 0.0], [0.0, 0.0]])


def batch(**fields):
  token_rewards = np.zeros(WRITTEN.shape, np.float32)
  token_rewards[0, 2], token_rewards[1, 2] = 0.5, 0.25  # the rest of a row's reward is its last token's
  given = {
    "attention_mask": WRITTEN, "turn_ids": np.tile(TURN_IDS, (4, 1)), "group_ids": np.full(4, 3),
    "rewards": np.float32([1, 0.25, 0, np.nan]), "reward_mask": np.array([1, 1, 1, 0], bool),
    "token_rewards": token_rewards, "source_ids": np.tile(np.where(OF_POLICY, 0, TOOL), (4, 1)),
    "extras": {"state_ids": STATES, "values": np.tile(np.float32([9, 0.5, 0.25, 9, 0.125, 0.75]), (4, 1))},
  }  # fmt: skip
  return batch_of(WRITTEN & OF_POLICY, prompt_width=1, **given | fields)


def signal_of(name, trajectories=None, **options):
  method = METHODS[name].build(config_of(name, **options), TASK)
  return method.signal(batch() if trajectories is None else trajectories, jnp.int32(0))


def on_turns(signal):
  """The policy's targets by turn, which are one number in each, on its tokens of scored rows and nowhere else."""
  stream = jax.tree.map(np.asarray, signal.streams["policy"])
  np.testing.assert_array_equal(stream.weights, WRITTEN & OF_POLICY & np.array([[1], [1], [1], [0]]))
  assert not stream.targets[stream.weights == 0].any()
  first = stream.targets[:, [1, 4]]
  np.testing.assert_array_equal(stream.targets, np.where(stream.weights > 0, first[:, TURN_IDS], 0))
  return first


def test_gigpo_compares_episodes_and_turns_of_one_state():
  """Returns from state 0, with discount 0.5, are 0.75, 0.25, 0 and 0; state 4 comes once in scored rows."""
  signal = signal_of("gigpo", discount=0.5, step_weight=2.0)
  episodes = (np.array([1, 0.25, 0, 0]) - 1.25 / 3)[:, None]
  step = np.array([[0.75 - 0.25, 0], [0.25 - 0.25, -0.25], [-0.25, 0], [0, 0]])
  np.testing.assert_allclose(on_turns(signal), (episodes + 2 * step) * EXISTS, atol=1e-6)
  assert signal.metrics["anchored"].value == pytest.approx(4 / 5)
  assert signal.metrics["step_advantage"].value == pytest.approx(1.0 / 5)


def test_mt_grpo_adds_outcomes_and_rewards_of_turns():
  signal = signal_of("mt_grpo", scale=False, turn_weight=0.5)
  outcomes, first = np.array([0.5, 0, 0, 0]) - 0.5 / 3, np.array([0.5, 0.25, 0, 0]) - 0.25
  expected = np.stack([outcomes + 0.5 * first, outcomes], axis=1)
  np.testing.assert_allclose(on_turns(signal), expected * EXISTS, atol=1e-6)
  assert signal.metrics["turn_reward"].value == pytest.approx(0.25)
  skipped = on_turns(signal_of("mt_grpo", scale=False, absent="skip"))
  np.testing.assert_allclose(skipped[:3, 0], outcomes[:3] + [0.125, -0.125, 0], atol=1e-6)


def test_turn_gae_reads_the_value_at_the_start_of_a_turn():
  """Values 0.5 and 0.125: advantages 1 - 0.5, 0.5 - 0.125 of row 0, with lambda 1."""
  signal = signal_of("turn_gae", whiten=False)
  expected = np.array([[0.5, 0.375], [-0.25, -0.125], [-0.5, 0], [0, 0]])
  np.testing.assert_allclose(on_turns(signal), expected, atol=1e-6)
  value = jax.tree.map(np.asarray, signal.streams["value"])
  np.testing.assert_array_equal(value.weights, np.insert(EXISTS, [0, 1, 1, 2], 0, axis=1))
  np.testing.assert_allclose(value.targets[:3, 1], [1, 0.25, 0], atol=1e-6)
  np.testing.assert_allclose(signal.metrics["value_error"].value, (0.25 + 0.375**2 + 0.25**2 + 0.125**2 + 0.25) / 5)


def test_bi_level_gae_gives_every_token_a_target():
  """With all four numbers 1 it is Monte Carlo over tokens."""
  signal = signal_of("turn_gae", level="bi_level", whiten=False)
  value, policy = (jax.tree.map(np.asarray, signal.streams[name]) for name in ("value", "policy"))
  np.testing.assert_array_equal(value.weights, policy.weights)
  np.testing.assert_allclose(value.targets[0, OF_POLICY], [1, 1, 0.5, 0.5], atol=1e-6)
  np.testing.assert_allclose(policy.targets[0, OF_POLICY], [0.5, 0.75, 0.375, -0.25], atol=1e-6)


@pytest.mark.parametrize("name", METHODS)
def test_unscored_rows_change_nothing_and_papers_are_named(name):
  alone = batch(row_mask=np.array([1, 1, 1, 0], bool))
  found, expected = signal_of(name), signal_of(name, alone)
  np.testing.assert_array_equal(found.streams["policy"].targets, expected.streams["policy"].targets)
  assert all(np.isfinite(mean.value) for mean in found.metrics.values())
  assert METHODS[name].build(config_of(name), TASK).papers == PAPERS[name]


@pytest.mark.parametrize("name", METHODS)
def test_a_task_without_turns_is_one_line(name):
  with pytest.raises(ValueError, match="this task has no turns"):
    METHODS[name].build(config_of(name), types.SimpleNamespace(response_tokens=4, turns=None, step_values=None))


@pytest.mark.parametrize(
  ("name", "options", "said"),
  [
    ("gigpo", {"normalization": "rows"}, "method.normalization is one of none, std, leave_one_out, got 'rows'"),
    ("mt_grpo", {"absent": "one"}, "method.absent is one of zero, skip, got 'one'"),
    ("mt_grpo", {"estimate": "sum"}, "method.estimate is one of additive, cumulative, got 'sum'"),
    ("turn_gae", {"level": "token"}, "method.level is one of turn, bi_level, got 'token'"),
  ],
)
def test_options_that_are_not_known_are_one_line(name, options, said):
  with pytest.raises(ValueError, match=said) as error:
    METHODS[name].build(config_of(name, **options), TASK)
  assert "\n" not in str(error.value)
