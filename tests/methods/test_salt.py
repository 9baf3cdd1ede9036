"""SALT: the spec's worked example, a loop over edges, GRPO where nothing repeats, and exact advantages in the rooms."""

from __future__ import annotations

import json
import types
from collections import defaultdict
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.errors import UserError
from rl_jax.methods import grpo, salt
from rl_jax.methods.method import check_options
from rl_jax.tasks.task import Turns
from tests.methods import walks
from tests.methods.batches import batch_of, config_of

GOLDENS = {
  case["name"]: case
  for case in json.loads((Path(__file__).parents[1] / "goldens/salt.json").read_text(encoding="utf-8"))
}
HAND = GOLDENS["hand_grpo"]["inputs"]
STEPS = GOLDENS["hand_grpo"]["outputs"]["step_advantages"]
RNG = np.random.default_rng(0)


def task_of(turns: int) -> Any:
  """A task of turns of two tokens, an action and an end, with observations of one token."""
  layout = Turns(max_turns=turns, turn_tokens=2, observation_tokens=1)
  return types.SimpleNamespace(response_tokens=layout.response_tokens, turns=layout, step_values=None)


def rows_of(states, actions, lengths, rewards, group_ids, **fields):
  """Episodes after a prompt of one token; an observation is the number of the state."""
  turns, states, actions = task_of(np.shape(actions)[1]).turns, np.array(states), np.array(actions)
  exists = np.arange(turns.max_turns) < np.array(lengths)[:, None]
  ids = np.array([0, *turns.turn_ids])
  trained = np.array([False, *~turns.observed]) & exists[:, ids]
  tokens = np.concatenate([np.full((len(states), 1), 3), np.repeat(actions + 10, 3, axis=1)[:, :-1]], axis=1)
  tokens[:, 2::3] = 1
  named = np.arange(turns.max_turns + 1) <= np.array(lengths)[:, None]
  given = {
    "tokens": tokens, "turn_ids": np.tile(ids, (len(states), 1)), "rewards": np.float32(rewards),
    "group_ids": np.array(group_ids), "extras": {"state_ids": np.where(named, states, -1)},
  }  # fmt: skip
  return batch_of(trained, prompt_width=1, **given | fields)


def hand(**fields):
  return rows_of(**HAND | fields)


def signal_of(rows, turns=3, **options):
  return salt.build(config_of(salt, **options), task_of(turns)).signal(rows, jnp.int32(0))


def of_turns(rows, targets):
  """The one number on the tokens of each turn."""
  trained = np.asarray(rows.trained)
  targets = np.asarray(targets)
  assert not targets[~trained].any()
  action, end = targets[:, 1::3], targets[:, 2::3]
  np.testing.assert_array_equal(action, end)
  return action


# Hand-computed.


def test_the_worked_example_of_the_spec():
  rows = hand()
  streams, metrics = signal_of(rows)
  np.testing.assert_allclose(of_turns(rows, streams["policy"].targets), STEPS, atol=1e-5)
  np.testing.assert_array_equal(streams["policy"].weights, rows.trained)
  assert metrics["merged_turns"].value == pytest.approx(7 / 12)
  whole = np.array(GOLDENS["hand_grpo"]["outputs"]["trajectory_advantages"])[:, None]
  assert metrics["moved_advantage"].value == pytest.approx(np.abs(STEPS - whole).mean(), rel=1e-5)


def test_the_loss_is_that_of_grpo():
  """Mean over each episode, then over episodes; and the divergence from the reference."""
  rows = hand()
  method = salt.build(config_of(salt), task_of(3))
  streams = method.signal(rows, jnp.int32(0)).streams

  def total(logprobs):
    outputs = {"policy": {"logprobs": logprobs, "entropies": jnp.zeros(rows.tokens.shape)}}
    terms = method.loss(outputs, rows, streams).terms
    return sum(term.coefficient * term.mean.value for term in terms.values())

  gradient = jax.grad(total)(jnp.zeros(rows.tokens.shape))
  np.testing.assert_allclose(gradient, -np.asarray(streams["policy"].targets) / 6 / 4, atol=1e-6)
  assert set(method.scoring) == {"ref_logprobs"} and method.requires == ("state_ids",)


# Goldens.


@pytest.mark.parametrize("name", ["hand_rloo", "hand_grpo_history1", "ragged_loop_two_prompts"])
def test_golden_cases(name):
  inputs, outputs = dict(GOLDENS[name]["inputs"]), GOLDENS[name]["outputs"]
  options = {"estimator": inputs.pop("estimator", "grpo"), "history": inputs.pop("history_len", 0)}
  rows = rows_of(**inputs)
  streams, _ = signal_of(rows, turns=len(inputs["actions"][0]), **options)
  np.testing.assert_allclose(of_turns(rows, streams["policy"].targets), outputs["step_advantages"], atol=1e-5)


# Against a loop in float64.


@pytest.mark.parametrize("draw", range(3))
def test_advantages_against_a_loop(draw):
  """Edges by their texts, in random walks with an unscored episode and states without a name."""
  count, turns = 5, 4
  rng = np.random.default_rng(draw)
  states = rng.choice([-1, 0, 2**30], (count, turns + 1), p=[0.1, 0.45, 0.45])
  actions, lengths = rng.integers(0, 2, (count, turns)), rng.integers(2, turns + 1, count)
  groups, rewards, scored = np.array([7, 7, 7, -3, -3]), rng.normal(size=count), np.arange(count) != 1
  rows = rows_of(states, actions, lengths, np.where(scored, rewards, np.nan), groups, reward_mask=scored)
  whole = np.zeros(count)
  for i in np.flatnonzero(scored):
    group = rewards[scored & (groups == groups[i])]
    whole[i] = (rewards[i] - group.mean()) / (group.std(ddof=1) + 1e-6)
  members, expected = defaultdict(list), np.zeros((count, turns))
  edge = lambda i, t: (groups[i], states[i, t], actions[i, t], states[i, t + 1])
  steps = [(i, t) for i in np.flatnonzero(scored) for t in range(lengths[i])]
  for i, t in steps:
    members[edge(i, t)].append(whole[i])
  for i, t in steps:
    expected[i, t] = np.mean(members[edge(i, t)]) if min(states[i, t], states[i, t + 1]) >= 0 else whole[i]
  assert max(map(len, members.values())) > 1
  streams, _ = signal_of(rows, turns)
  np.testing.assert_allclose(of_turns(rows, streams["policy"].targets), expected, atol=1e-5)
  assert not streams["policy"].weights[1].any()


# Invariances.


def test_order_of_rows_and_what_is_masked_do_not_matter():
  targets = np.asarray(signal_of(hand()).streams["policy"].targets)
  order = np.array([2, 0, 3, 1])
  np.testing.assert_allclose(signal_of(hand().rows(order)).streams["policy"].targets, targets[order], atol=1e-6)
  rows = hand()
  noise = jnp.where(rows.loss_mask, rows.tokens, jnp.asarray(RNG.integers(0, 99, rows.tokens.shape)))
  np.testing.assert_array_equal(signal_of(rows.replace(tokens=noise)).streams["policy"].targets, targets)


# Reductions.


@pytest.mark.parametrize("fields", [{"states": np.arange(16).reshape(4, 4)}, {"states": np.full((4, 4), -1)}])
def test_where_nothing_repeats_it_is_grpo_bit_for_bit(fields):
  """States that are all different, or have no name."""
  rows = hand(**fields)
  found = signal_of(rows)
  plain = grpo.build(config_of(grpo), task_of(3)).signal(rows, jnp.int32(0))
  np.testing.assert_array_equal(found.streams["policy"].targets, plain.streams["policy"].targets)
  assert found.metrics["merged_turns"].value == 0 and found.metrics["moved_advantage"].value == 0
  assert np.asarray(plain.streams["policy"].targets).any()


def test_episodes_that_are_the_same_have_no_advantage():
  rows = hand(states=np.zeros((4, 4), int), actions=np.zeros((4, 3), int), rewards=[1, 0, 0, 1])
  np.testing.assert_allclose(signal_of(rows).streams["policy"].targets, 0, atol=1e-6)


def test_a_policy_that_reads_only_the_state_gets_the_gradient_of_grpo():
  """If the gradient of a step depends on its state and action alone, only the sum of the advantages of such steps
  counts, and means leave sums as they are. All tokens must weigh alike: with a mean over each episode they do not."""
  lengths, states, actions = RNG.integers(2, 7, 8), RNG.integers(0, 3, (8, 7)), RNG.integers(0, 2, (8, 6))
  rows = rows_of(states, actions, lengths, RNG.normal(size=8), np.zeros(8, int))
  exists = np.arange(6) < lengths[:, None]

  def pushes(method, weights):
    """The factor of the gradient of each action's log probability in each state: [states, actions]."""
    signal = method.build(config_of(method), task_of(6)).signal(rows, jnp.int32(0))
    of_steps = of_turns(rows, signal.streams["policy"].targets) * weights
    return np.array([
      [of_steps[exists & (states[:, :-1] == state) & (actions == action)].sum() for action in range(2)]
      for state in range(3)
    ])  # fmt: skip

  by_token, by_episode = np.ones((8, 1)), 1 / lengths[:, None]
  np.testing.assert_allclose(pushes(salt, by_token), pushes(grpo, by_token), atol=1e-5)
  assert np.abs(pushes(salt, by_episode) - pushes(grpo, by_episode)).max() > 0.05


def test_its_advantages_agree_better_with_exact_ones():
  """In rooms, of a policy that takes any step: the correlation with V after a turn less V before it, over turns; and a
  step is less often pushed the wrong way."""
  found = walks.walks()
  exact, exists = found.after - found.before, found.exists
  task = types.SimpleNamespace(response_tokens=walks.layout().response_tokens, turns=walks.layout(), step_values=None)
  first = found.trajectories.prompt_width + task.turns.slots[:, 0]
  agreement = {}
  for method in (grpo, salt):
    signal = method.build(config_of(method), task).signal(found.trajectories, jnp.int32(0))
    advantages = np.asarray(signal.streams["policy"].targets)[:, first]
    right = np.sign(advantages) == np.sign(exact)
    decisive = exists & (np.abs(exact) > 0.02) & (advantages != 0)
    agreement[method] = np.corrcoef(advantages[exists], exact[exists])[0, 1], right[decisive].mean()
  assert agreement[salt][0] > agreement[grpo][0] + 0.1 and agreement[salt][1] > agreement[grpo][1]


# Edge cases.


def test_a_task_without_turns_is_one_line():
  with pytest.raises(ValueError, match="this task has no turns"):
    salt.build(config_of(salt), types.SimpleNamespace(response_tokens=4, turns=None))


def test_options_that_are_not_known_are_refused():
  with pytest.raises(ValueError, match="method.estimator is one of grpo, rloo, got 'ppo'"):
    salt.build(config_of(salt, estimator="ppo"), task_of(3))
  with pytest.raises(UserError, match="method.history: want"):
    check_options(config_of(salt, history=-1), salt)
