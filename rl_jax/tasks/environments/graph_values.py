"""Exact values of the states of a small graph, by dynamic programming over the turns that are left.

With pi(a | s) the probability of action a in state s, s.a the next state, r(s, a) the reward, and h turns left,

  V_h(s) = sum_a pi(a | s) (r(s, a) + V_{h-1}(s.a)),   V_0 = 0, and V_h = 0 in a final state

A turn that is not an action ends the episode and earns nothing, so it adds nothing to the sum.

The actions of a state are of three kinds: toward the nearest final state, back to the same state, and all others. The
probabilities of the kinds, and of turns that are not actions, are estimated by counts over the batch, for each level
and signature (a state's numbers of actions of the first two kinds), and split evenly among the actions of a kind. V is
therefore exact for a policy that depends on nothing else. A signature that never occurs takes its level's
probabilities, restricted to the kinds that it has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.tasks.environments.environment import Episodes, Problem, State
from rl_jax.tasks.task import Prompts

_TOWARD, _STAY, _OTHER, _NONE = range(4)
"""Kinds of actions; the last is a turn that is not an action."""


class Graph(NamedTuple):
  """S states of a problem, with A actions each."""

  following: Int[Array, "S A"]
  """Next state of each action."""
  rewards: Float[Array, "S A"]
  final: Bool[Array, " S"]


@dataclasses.dataclass(frozen=True)
class Walks:
  """Mapping of an environment's problems and episodes to walks on graphs.

  Attributes:
    graph_of: problem -> its graph.
    number_of: state -> its index in the graph.
    actions_of: (turns [*, C], mask [*, C]) -> index of the action that each turn takes, -1 if it takes none.
    longest: length of the longest of the shortest paths to a final state, over all problems.
    levels: number of levels.
  """

  graph_of: Callable[[Problem], Graph]
  number_of: Callable[[State], Int[Array, "*N"]]
  actions_of: Callable[[Int[Array, "*N C"], Bool[Array, "*N C"]], Int[Array, "*N"]]
  longest: int
  levels: int


def toward(walks: Walks, graph: Graph) -> Bool[Array, "S A"]:
  """True for the first actions of shortest paths to a final state."""
  never = walks.longest + 1
  nearer = lambda _, distances: jnp.minimum(distances, 1 + distances[graph.following].min(axis=1))
  distances = jax.lax.fori_loop(0, walks.longest, nearer, jnp.where(graph.final, 0, never))
  outside = ~graph.final & (distances < never)
  return outside[:, None] & (distances[graph.following] == distances[:, None] - 1)


def expected_rewards(walks: Walks, prompts: Prompts, episodes: Episodes) -> Float[Array, "B K+1"]:
  """Expected rewards from each state of episodes, under the policy of the batch as its counts describe it."""
  graphs = jax.vmap(walks.graph_of)(dict(prompts.metadata))
  kinds = jax.vmap(lambda graph: _kinds(walks, graph))(graphs)
  signatures, num_signatures = _signatures(kinds)
  rows, numbers = jnp.arange(kinds.shape[0])[:, None], walks.number_of(episodes.states)
  actions, states = walks.actions_of(episodes.turns, episodes.mask), numbers[:, :-1]
  taken = jnp.where(actions >= 0, kinds[rows, states, jnp.maximum(actions, 0)], _NONE)
  counts = jnp.zeros((walks.levels, num_signatures, _NONE + 1))
  counts = counts.at[prompts.levels[:, None], signatures[rows, states], taken].add(episodes.exists)
  chances = jax.vmap(_policy)(kinds, signatures, counts[prompts.levels])
  return _along(_values(graphs, chances, actions.shape[1]), numbers)


def prover_rewards(walks: Walks, prompts: Prompts, episodes: Episodes, strength: float) -> Float[Array, "B K+1"]:
  """Expected rewards from each state under a prover: actions toward the goal have weight `strength`, others 1."""
  graphs = jax.vmap(walks.graph_of)(dict(prompts.metadata))
  weights = jnp.where(jax.vmap(lambda graph: toward(walks, graph))(graphs), strength, 1.0)
  chances = weights / weights.sum(axis=2, keepdims=True)
  return _along(_values(graphs, chances, episodes.exists.shape[1]), walks.number_of(episodes.states))


def _kinds(walks: Walks, graph: Graph) -> Int[Array, "S A"]:
  stays = graph.following == jnp.arange(graph.following.shape[0])[:, None]
  return jnp.where(toward(walks, graph), _TOWARD, jnp.where(stays, _STAY, _OTHER))


def _signatures(kinds: Int[Array, "B S A"]) -> tuple[Int[Array, "B S"], int]:
  """Index of each state's signature, and the number of signatures."""
  most = kinds.shape[2] + 1
  return (kinds == _TOWARD).sum(axis=2) * most + (kinds == _STAY).sum(axis=2), most**2


def _policy(kinds: Int[Array, "S A"], signatures: Int[Array, " S"], counts: Float[Array, "N 4"]) -> Float[Array, "S A"]:
  """Probabilities of the actions, from the counts of kinds by signature."""
  every = jnp.arange(_NONE + 1)
  of_kinds = (kinds[:, :, None] == every).sum(axis=1)
  pooled = jnp.where((of_kinds > 0) | (every == _NONE), counts.sum(axis=0), 0.0)
  seen = counts[signatures]
  weights = jnp.where(seen.sum(axis=1, keepdims=True) > 0, seen, pooled)
  shares = weights / jnp.maximum(weights.sum(axis=1, keepdims=True), 1.0)
  return jnp.take_along_axis(shares / jnp.maximum(of_kinds, 1), kinds, axis=1)


def _values(graphs: Graph, chances: Float[Array, "B S A"], turns: int) -> Float[Array, "H B S"]:
  """V_h for h = 0 .. turns."""

  def longer(values, _):
    ahead = jax.vmap(lambda values, following: values[following])(values, graphs.following)
    values = jnp.where(graphs.final, 0.0, jnp.sum(chances * (graphs.rewards + ahead), axis=2))
    return values, values

  start = jnp.zeros(graphs.final.shape)
  return jnp.concatenate([start[None], jax.lax.scan(longer, start, None, length=turns)[1]])


def _along(values: Float[Array, "H B S"], numbers: Int[Array, "B H"]) -> Float[Array, "B H"]:
  """Values of the states of episodes; the first has all turns left, the last none."""
  turns_left = jnp.arange(values.shape[0])[::-1]
  return values[turns_left, jnp.arange(numbers.shape[0])[:, None], numbers]
