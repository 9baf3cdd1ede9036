"""Every episode of a problem: by hand, exact gradients against differences and against REINFORCE, what is refused."""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.tasks.environments import enumeration, rooms
from rl_jax.tasks.environments.enumeration import angle, every_episode, exact, expected_gradient, log_chances

EAST, WEST, STOP = range(3)
TURNS = ("E.", "W.", ".")
"""Turns of a policy, the last of which is none, and ends the episode."""


@functools.cache
def corridor(max_turns: int = 3, key_reward: float = 0.5):
  """Four cells in a row with a door in the middle: from a over the key in b to d takes three steps."""
  fields = {"width": 2, "height": 1, "max_turns": max_turns, "key_reward": key_reward, "held_out_fraction": 0.5}
  environment = rooms.environment(fields)
  cells = {"starts": jnp.array([0]), "keys": jnp.array([[1]]), "door_rows": jnp.array([[0]]), "goals": jnp.array([3])}
  prompts = environment.prompts(jnp.zeros(1, jnp.int32), "train")
  prompts = prompts.replace(metadata={**cells, "doors": jnp.array([1])})
  symbols = environment.vocabulary.symbols
  encoded = [[symbols.index("<end>" if c == "." else c) for c in turn] for turn in TURNS]
  return every_episode(environment, prompts, encoded)


def policy(episodes, seed=0):
  return np.random.default_rng(seed).normal(size=(len(episodes.names), len(TURNS)))


def test_the_episodes_of_a_corridor():
  """One that stops at once, two of two turns, and three for each of the four walks of two steps."""
  episodes = corridor()
  assert sorted(episodes.exists.sum(axis=1)) == [1] + [2] * 2 + [3] * 12
  way = (episodes.actions == EAST).all(axis=1)
  assert episodes.rewards[way].tolist() == [[0.5, 0, 0.5]]
  assert episodes.names[episodes.states[way]].tolist() == [[0, 4 + 1, 4 + 2, 4 + 3]]
  assert (episodes.rewards == 0.5).sum() == 7 + 3 + 1 + 1, "a key after one, two and three turns, and the goal"


@pytest.mark.parametrize("max_turns", [1, 3])
def test_values_and_gradients_against_all_episodes(max_turns):
  """J is the sum over episodes of their chance and reward, and its gradient that of finite differences."""
  episodes = corridor(max_turns)
  logits = policy(episodes)

  def total(logits):
    logs = log_chances(logits)[np.maximum(episodes.states[:, :-1], 0), episodes.actions]
    return np.exp(np.where(episodes.exists, logs, 0).sum(axis=1)) @ episodes.rewards.sum(axis=1)

  found = exact(episodes, logits)
  assert found.values[-1, episodes.states[0, 0]] == pytest.approx(total(logits))
  for place in np.ndindex(*logits.shape):
    step = np.zeros(logits.shape)
    step[place] = 1e-5
    slope = (total(logits + step) - total(logits - step)) / 2e-5
    assert found.gradient[place] == pytest.approx(slope, abs=1e-9)


@pytest.mark.parametrize("group_size", [1, 3])
def test_reinforce_is_the_exact_gradient(group_size):
  """The whole reward as every turn's advantage, and the rewards to come."""
  episodes = corridor()
  logits = policy(episodes, seed=1)
  whole = lambda rewards, states, ids, exists: jnp.where(exists, rewards.sum(axis=1, keepdims=True), 0)
  to_come = lambda rewards, states, ids, exists: jnp.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]
  for estimator in (whole, to_come):
    found = expected_gradient(episodes, logits, estimator, group_size)
    np.testing.assert_allclose(found, exact(episodes, logits).gradient, atol=1e-6)
  constant = expected_gradient(episodes, logits, lambda rewards, *rest: jnp.ones_like(rewards), group_size)
  np.testing.assert_allclose(constant, 0, atol=1e-12)


def test_angles():
  gradient = np.array([[1.0, 0.0]])
  assert angle(gradient, 3 * gradient) == 0 and angle(gradient, np.array([[0.0, 2.0]])) == pytest.approx(90)


def test_what_is_refused():
  environment = rooms.environment({"width": 2, "height": 1, "spare_tokens": 0, "held_out_fraction": 0.5})
  prompts = environment.prompts(jnp.arange(2), "train")
  with pytest.raises(ValueError, match="all episodes are those of one problem, got 2"):
    enumeration.every_episode(environment, prompts, [[1]])
  one = environment.prompts(jnp.arange(1), "train")
  with pytest.raises(ValueError, match="a turn has room for 2 tokens, got one of 3"):
    enumeration.every_episode(environment, one, [[2, 2, 1]])
