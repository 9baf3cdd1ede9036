"""Environments on the device: `reset` and `step` of one episode in pure JAX, and the task built from them.

The whole state of an episode is a function of its problem and of the recorded turns. The task's verifier replays the
recorded turns through `step`, so no hidden state is carried between the phases of a rollout: a repeated iteration
gives the same verdicts, on another machine too. The recorded observations are not read.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.kernels.segments import on_tokens, segment_ends
from rl_jax.tasks.task import (
  OF_TURNS,
  DeviceTask,
  ExtraSpec,
  Prompts,
  Split,
  StepValues,
  Turns,
  Verdicts,
  Vocabulary,
)  # fmt: skip

State = Any
"""Pytree of arrays that, with the problem, determines how an episode can continue."""
Problem = Mapping[str, Array]
"""Metadata of one problem: `Prompts.metadata` without its leading axis."""
UNKNOWN = -1
"""Id of states that an environment does not distinguish, and of the state before a turn that was not taken."""

OF_ENVIRONMENTS = {
  **OF_TURNS,
  "correct": ExtraSpec((), "bool", "the episode has solved its problem"),
  "turn_rewards": ExtraSpec(("K",), "float32", "reward of each turn; the reward of the episode is their sum"),
  "state_ids": ExtraSpec(("S",), "int32", "state before each turn, and after the last one; -1 without a turn"),
}
"""Extras of every environment, for K turns at most and S = K + 1 states."""


class Step(NamedTuple):
  """The environment's answer to one turn of one episode, in O slots."""

  state: State
  observation: Int[Array, " O"]
  """Right-aligned, so that the next turn directly follows the observation."""
  observation_mask: Bool[Array, " O"]
  """At least one token where the episode continues."""
  reward: Float[Array, ""]
  done: Bool[Array, ""]
  solved: Bool[Array, ""]
  """The turn has solved the problem."""
  facts: Mapping[str, Array] = {}
  """Extras of the turn, as described by `Environment.facts`."""


class Episodes(NamedTuple):
  """B replayed episodes of K turns each; turns that an episode lacks hold 0, False and its last state."""

  exists: Bool[Array, "B K"]
  turns: Int[Array, "B K C"]
  mask: Bool[Array, "B K C"]
  states: State
  """State before each turn and after the last one, leading axes [B, K + 1]."""
  steps: Step
  """Answers to the turns, leading axes [B, K]."""


@dataclasses.dataclass(frozen=True)
class Environment:
  """Episodes of text, defined by pure functions of one episode, which are vmapped and scanned.

  Attributes:
    vocabulary, prompt_tokens, levels, problem_ids, prompts: as in `DeviceTask`. The prompt is the first observation.
    turns: layout of a response.
    reset: problem -> state before the first turn.
    step: (problem, state, tokens [C], mask [C]) -> Step. Tokens outside the mask are padding; the others may be any
      id. The last turn of the layout ends an episode, whatever `Step` says.
    act: (problem, state, key) -> (tokens [C], mask [C]): an imperfect turn, for demonstrations.
    state_id: (problem, state) -> a number >= 0 that identifies the state within the problem, or `UNKNOWN`. None: states
      are not identified, and the task provides no `state_ids`.
    facts: extras per turn in `Step.facts`, by name; their shapes begin with "K". Turns that were not taken hold 0, or
      -1 if the extra is an integer.
    problem_facts: extras that do not depend on the episode; the problem's metadata holds them under the same names.
    expected_rewards: (prompts, episodes) -> expected sum of the future rewards from each state, [B, K + 1], exact
      under the environment's assumptions about the policy. None: not known.
    prover_rewards: (prompts, episodes, strength) -> the same under the environment's own prover policy. None: it has
      no prover.
  """

  vocabulary: Vocabulary
  prompt_tokens: int
  levels: tuple[str, ...]
  turns: Turns
  problem_ids: Callable[[PRNGKeyArray, int, Split], Int[Array, " n"]]
  prompts: Callable[[Int[Array, " N"], Split], Prompts]
  reset: Callable[[Problem], State]
  step: Callable[[Problem, State, Int[Array, " C"], Bool[Array, " C"]], Step]
  act: Callable[[Problem, State, PRNGKeyArray], tuple[Int[Array, " C"], Bool[Array, " C"]]]
  state_id: Callable[[Problem, State], Int[Array, ""]] | None = None
  facts: Mapping[str, ExtraSpec] = dataclasses.field(default_factory=dict)
  problem_facts: Mapping[str, ExtraSpec] = dataclasses.field(default_factory=dict)
  expected_rewards: Callable[[Prompts, Episodes], Float[Array, "B S"]] | None = None
  prover_rewards: Callable[[Prompts, Episodes, float], Float[Array, "B S"]] | None = None


def as_task(environment: Environment) -> DeviceTask:
  """The task of an environment: its verifier answers the last turn of each episode and scores the whole episode."""
  expected, of_prover = environment.expected_rewards, environment.prover_rewards
  own = {name: spec for name, spec in OF_ENVIRONMENTS.items() if name != "state_ids" or environment.state_id}
  return DeviceTask(
    vocabulary=environment.vocabulary,
    prompt_tokens=environment.prompt_tokens,
    response_tokens=environment.turns.response_tokens,
    levels=environment.levels,
    problem_ids=environment.problem_ids,
    prompts=environment.prompts,
    verify=partial(_verify, environment),
    demonstrate=partial(_demonstrate, environment),
    step_values=None if expected is None else partial(_step_values, environment, expected),
    prover_values=None if of_prover is None else partial(_prover_values, environment, of_prover),
    provides={**own, **environment.facts, **environment.problem_facts},
    turns=environment.turns,
  )


def play(environment: Environment, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Episodes:
  """Replay recorded episodes through the environment, up to the first turn that is missing or ends the episode.

  Raises: ValueError: R is not the response length of the layout.
  """
  layout = environment.turns
  layout.check(tokens)
  present = mask[:, layout.slots]
  turns = jnp.where(present, tokens[:, layout.slots], environment.vocabulary.pad_id)

  def episode(problem, turns, present):
    def turn(carry, inputs):
      state, goes_on = carry
      tokens, present, is_last = inputs
      exists = goes_on & present[0]
      step = environment.step(problem, state, tokens, present)
      step = step._replace(state=_chosen(exists, step.state, state), done=step.done | is_last)
      return (step.state, exists & ~step.done), (exists, step)

    start = environment.reset(problem)
    is_last = jnp.arange(layout.max_turns) == layout.max_turns - 1
    _, (exists, steps) = jax.lax.scan(turn, (start, jnp.bool_(True)), (turns, present, is_last))
    states = jax.tree.map(lambda first, later: jnp.concatenate([first[None], later]), start, steps.state)
    taken = lambda x: jnp.where(exists.reshape(-1, *[1] * (x.ndim - 1)), x, jnp.zeros_like(x))
    return exists, states, jax.tree.map(taken, steps._replace(state=()))

  exists, states, steps = jax.vmap(episode)(dict(prompts.metadata), turns, present)
  return Episodes(exists, turns, present, states, steps)


def state_ids(environment: Environment, prompts: Prompts, episodes: Episodes) -> Int[Array, "B S"] | None:
  """Names of the states of episodes; None if the environment does not identify states."""
  if environment.state_id is None:
    return None
  return jax.vmap(jax.vmap(environment.state_id, (None, 0)))(dict(prompts.metadata), episodes.states)


def _chosen(condition: Bool[Array, ""], new: Any, old: Any) -> Any:
  return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)


def _verify(
  environment: Environment, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]
) -> Verdicts:
  """Score recorded episodes and answer their last turn; the observation slots may hold anything.

  A step is a turn without its observation. An episode without a turn is over.
  """
  layout = environment.turns
  episodes = play(environment, prompts, tokens, mask)
  exists, steps = episodes.exists, episodes.steps
  count = exists.sum(axis=1, dtype=jnp.int32)
  last = jnp.maximum(count - 1, 0)
  of_last = lambda x: jnp.take_along_axis(x, last.reshape(-1, *[1] * (x.ndim - 1)), axis=1)[:, 0]
  done = of_last(steps.done) | (count == 0)
  is_state = jnp.arange(layout.max_turns + 1) <= count[:, None]
  ids = state_ids(environment, prompts, episodes)
  step_ids = jnp.where(mask & ~layout.observed & exists[:, layout.turn_ids], layout.turn_ids, UNKNOWN)
  return Verdicts(
    rewards=steps.reward.sum(axis=1),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=step_ids,
    token_rewards=on_tokens(steps.reward, step_ids, segment_ends(step_ids, mask)),
    extras={
      "observation": of_last(steps.observation),
      "observation_mask": of_last(steps.observation_mask) & ~done[:, None],
      "done": done,
      "correct": steps.solved.any(axis=1),
      "turn_rewards": steps.reward,
      **({} if ids is None else {"state_ids": jnp.where(is_state, ids, UNKNOWN)}),
      **{name: _without_turn(steps.facts[name], exists) for name in environment.facts},
      **{name: prompts.metadata[name] for name in environment.problem_facts},
    },
  )


def _without_turn(x: Array, exists: Bool[Array, "B K"]) -> Array:
  fill = UNKNOWN if jnp.issubdtype(x.dtype, jnp.integer) else 0
  return jnp.where(exists.reshape(*exists.shape, *[1] * (x.ndim - 2)), x, jnp.full_like(x, fill))


def _step_values(
  environment: Environment,
  expected_rewards: Callable[[Prompts, Episodes], Float[Array, "B S"]],
  prompts: Prompts,
  tokens: Int[Array, "B R"],
  mask: Bool[Array, "B R"],
  finished: Bool[Array, " B"],
) -> StepValues:
  """Earned plus expected rewards, before and after each turn. A turn cut by a window has changed nothing."""
  episodes = play(environment, prompts, tokens, mask)
  values = _values(episodes, expected_rewards(prompts, episodes), finished)
  is_last = jnp.cumsum(episodes.exists[:, ::-1], axis=1)[:, ::-1] == 1
  cut = episodes.exists & is_last & episodes.steps.done & ~finished[:, None]
  return _on_turns(environment, episodes, mask, StepValues(values.before, jnp.where(cut, values.before, values.after)))


def _prover_values(
  environment: Environment,
  prover_rewards: Callable[[Prompts, Episodes, float], Float[Array, "B S"]],
  prompts: Prompts,
  tokens: Int[Array, "B R"],
  mask: Bool[Array, "B R"],
  strength: float,
) -> StepValues:
  """Earned plus expected rewards before and after each turn, if the prover continues an episode that is not over."""
  episodes = play(environment, prompts, tokens, mask)
  expected = prover_rewards(prompts, episodes, strength)
  values = _values(episodes, expected, jnp.zeros(tokens.shape[0], bool))
  return _on_turns(environment, episodes, mask, values)


def _values(episodes: Episodes, expected: Float[Array, "B S"], finished: Bool[Array, " B"]) -> StepValues:
  """Values [B, K] of turns. After the last turn of a finished episode nothing is expected."""
  exists, rewards = episodes.exists, episodes.steps.reward
  earned = jnp.pad(jnp.cumsum(rewards, axis=1), ((0, 0), (1, 0)))
  goes_on = jnp.pad(exists[:, 1:], ((0, 0), (0, 1))) | ~finished[:, None]
  to_come = jnp.where(goes_on & ~episodes.steps.done, expected[:, 1:], 0.0)
  return StepValues(earned[:, :-1] + expected[:, :-1], earned[:, 1:] + to_come)


def _on_turns(environment: Environment, episodes: Episodes, mask: Bool[Array, "B R"], values: StepValues) -> StepValues:
  """Values of turns on their tokens."""
  layout = environment.turns
  inside = mask & ~layout.observed & episodes.exists[:, layout.turn_ids]
  turn_ids = jnp.broadcast_to(layout.turn_ids, mask.shape)
  return StepValues(*(on_tokens(x, turn_ids, inside) for x in values))


def _demonstrate(
  environment: Environment, key: PRNGKeyArray, prompts: Prompts
) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  """Episodes played by the environment's own `act`."""
  layout, rows = environment.turns, prompts.ids.shape[0]

  def episode(problem, key):
    def turn(carry, key):
      state, goes_on = carry
      tokens, mask = environment.act(problem, state, key)
      step = environment.step(problem, state, jnp.where(mask, tokens, environment.vocabulary.pad_id), mask)
      written = jnp.concatenate([tokens, step.observation])
      there = jnp.concatenate([mask & goes_on, step.observation_mask & goes_on & ~step.done])
      return (_chosen(goes_on, step.state, state), goes_on & ~step.done), (written, there)

    start = environment.reset(problem), jnp.bool_(True)
    _, (tokens, mask) = jax.lax.scan(turn, start, jax.random.split(key, layout.max_turns))
    return tokens.reshape(-1)[: layout.response_tokens], mask.reshape(-1)[: layout.response_tokens]

  tokens, mask = jax.vmap(episode)(dict(prompts.metadata), jax.random.split(key, rows))
  return jnp.where(mask, tokens, environment.vocabulary.pad_id), mask
