"""Every episode of one problem under a tabular policy: the exact gradient, and the expected one of an estimator.

A policy pi(a | s) over a few turns is a table of logits z[s, a]. J is its expected sum of rewards in at most K turns.
Dynamic programming over the turns that are left gives the exact gradient of J. An estimator of advantages A is unbiased
if the expectation over all groups of n independent episodes,

  E[1/n sum_i sum_k A_ik d log pi(a_ik | s_ik) / dz]

is that gradient, or a positive multiple of it, for every z. Both are float64; the environment plays the episodes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from rl_jax.tasks.environments.environment import UNKNOWN, Environment, play, state_ids
from rl_jax.tasks.task import Prompts

Estimator = Callable[
  [Float[Array, "B K"], Int[Array, "B K"], Int[Array, " B"], Bool[Array, "B K"]], Float[Array, "B K"]
]
"""(rewards, states, group ids, mask of existing turns) -> advantages of turns."""


class EveryEpisode(NamedTuple):
  """N episodes of at most K turns, in M states."""

  names: Int[np.ndarray, " M"]
  """The environment's ids of the states, in ascending order; the other arrays hold indices into this one."""
  states: Int[np.ndarray, "N K+1"]
  """State before each turn and after the last one; -1 without a turn."""
  actions: Int[np.ndarray, "N K"]
  rewards: Float[np.ndarray, "N K"]
  exists: Bool[np.ndarray, "N K"]


class Exact(NamedTuple):
  """Values of states with h = 0 .. K turns left, and the gradient of J with respect to the logits."""

  values: Float[np.ndarray, "K+1 M"]
  gradient: Float[np.ndarray, "M A"]


def every_episode(environment: Environment, prompts: Prompts, turns: Sequence[Sequence[int]]) -> EveryEpisode:
  """All episodes of one problem in which each turn is one of `turns`, given as token ids.

  Raises: ValueError: more than one problem, a turn that is too long for the layout, or states without ids.
  """
  layout = environment.turns
  if environment.state_id is None:
    raise ValueError("all episodes are listed by their states, but this environment has no state_id")
  if prompts.ids.shape != (1,):
    raise ValueError(f"all episodes are those of one problem, got {prompts.ids.shape[0]}")
  longest = max(map(len, turns))
  if longest > layout.turn_tokens:
    raise ValueError(f"a turn has room for {layout.turn_tokens} tokens, got one of {longest}")
  sequences = np.array(list(itertools.product(range(len(turns)), repeat=layout.max_turns)))
  padded = np.full((len(turns), layout.turn_tokens), environment.vocabulary.pad_id)
  there = np.zeros(padded.shape, bool)
  for i, turn in enumerate(turns):
    padded[i, : len(turn)], there[i, : len(turn)] = turn, True
  shape = len(sequences), layout.response_tokens
  tokens, mask = np.full(shape, environment.vocabulary.pad_id), np.zeros(shape, bool)
  tokens[:, layout.slots], mask[:, layout.slots] = padded[sequences], there[sequences]

  @jax.jit
  def played(prompts, tokens, mask):
    rows = jax.tree.map(lambda x: jnp.repeat(x, tokens.shape[0], axis=0), prompts)
    episodes = play(environment, rows, tokens, mask)
    names = state_ids(environment, rows, episodes)
    return episodes.exists, names, episodes.steps.reward

  exists, names, rewards = jax.device_get(played(prompts, jnp.array(tokens), jnp.array(mask)))
  own = (exists | (sequences == 0)).all(axis=1)  # one for all that an episode's end makes equal
  exists, names, rewards, actions = exists[own], names[own], rewards[own], sequences[own]
  is_state = np.pad(exists, ((0, 0), (1, 0)), constant_values=True)
  known = np.unique(names[is_state])
  states = np.where(is_state, np.searchsorted(known, names), UNKNOWN)
  return EveryEpisode(known, states, actions, rewards.astype(np.float64), exists)


def log_chances(logits: Float[np.ndarray, "M A"]) -> Float[np.ndarray, "M A"]:
  """Log pi(a | s)."""
  shifted = logits - logits.max(axis=1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def exact(episodes: EveryEpisode, logits: Float[np.ndarray, "M A"]) -> Exact:
  """Values and gradient of J by dynamic programming, for an environment with Markov states.

  V_h(s) = sum_a pi(a | s) Q_h(s, a),  Q_h(s, a) = r(s, a) + V_{h-1}(s.a),  V_0 = 0 and V = 0 after the end
  dJ / dz[s, a] = sum_k P(s_k = s) pi(a | s) (Q_{K-k}(s, a) - V_{K-k}(s))
  """
  states, turns = len(episodes.names), episodes.actions.shape[1]
  rewards, following = np.zeros(logits.shape), np.zeros(logits.shape, int)
  continues = np.zeros(logits.shape, bool)  # never seen before the last turn: nothing is left after it
  for k in range(turns):
    rows = episodes.exists[:, k]
    place = episodes.states[rows, k], episodes.actions[rows, k]
    rewards[place], following[place] = episodes.rewards[rows, k], episodes.states[rows, k + 1]
    if k + 1 < turns:
      continues[place] = episodes.exists[rows, k + 1]
  chances = np.exp(log_chances(logits))
  values, of_actions = np.zeros((turns + 1, states)), np.zeros((turns + 1, *logits.shape))
  for h in range(1, turns + 1):
    of_actions[h] = rewards + np.where(continues, values[h - 1][following], 0)
    values[h] = (chances * of_actions[h]).sum(axis=1)
  reached = np.where(np.arange(states) == episodes.states[0, 0], 1.0, 0.0)
  gradient = np.zeros(logits.shape)
  for h in range(turns, 0, -1):
    flow = reached[:, None] * chances
    gradient += flow * (of_actions[h] - values[h][:, None])
    reached = np.bincount(following.ravel(), weights=(flow * continues).ravel(), minlength=states)
  return Exact(values, gradient)


def expected_gradient(
  episodes: EveryEpisode, logits: Float[np.ndarray, "M A"], estimator: Estimator, group_size: int
) -> Float[np.ndarray, "M A"]:
  """E[1/n sum_i sum_k A_ik d log pi(a_ik | s_ik) / dz] over all groups of `group_size` independent episodes."""
  logs, count = log_chances(logits), len(episodes.actions)
  before = np.maximum(episodes.states[:, :-1], 0)
  likely = np.exp(np.where(episodes.exists, logs[before, episodes.actions], 0).sum(axis=1))
  groups = np.array(list(itertools.combinations_with_replacement(range(count), group_size)))
  # A group of n episodes has n! / prod m! orders; in a run of m equal episodes the divisor multiplies up to m!.
  run, orders = np.ones(len(groups)), np.full(len(groups), float(math.factorial(group_size)))
  for place in range(1, group_size):
    run = np.where(groups[:, place] == groups[:, place - 1], run + 1, 1)
    orders /= run
  weights = orders * likely[groups].prod(axis=1)
  rows, group_ids = groups.reshape(-1), np.repeat(np.arange(len(groups)), group_size)
  arrays = episodes.rewards[rows], episodes.states[rows, :-1], group_ids, episodes.exists[rows]
  advantages = np.asarray(estimator(*map(jnp.asarray, arrays)), np.float64)
  credit = np.zeros(episodes.exists.shape)
  np.add.at(credit, rows, np.repeat(weights / group_size, group_size)[:, None] * advantages)
  credit = np.where(episodes.exists, credit, 0)
  gradient = np.zeros(logits.shape)
  np.add.at(gradient, (before, episodes.actions), credit)
  of_states = np.bincount(before.ravel(), weights=credit.ravel(), minlength=len(logits))
  return gradient - of_states[:, None] * np.exp(logs)


def angle(gradient: Float[np.ndarray, "M A"], other: Float[np.ndarray, "M A"]) -> float:
  """Degrees between two gradients; 0 for a positive multiple."""
  cosine = (gradient * other).sum() / (np.linalg.norm(gradient) * np.linalg.norm(other))
  return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
