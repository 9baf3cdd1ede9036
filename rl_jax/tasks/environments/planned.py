"""Plans in the turns of an environment: each turn names a sub-goal before it acts.

A turn is "*cS<end>", which switches to the sub-goal c and then takes the environment's own turn "S<end>", or
"-cS<end>", which keeps the sub-goal and names it again. The environment treats a turn without a plan as an empty turn.
Plans change nothing else: they are text that later turns can read.

Demonstrations keep a sub-goal until it is reached, then switch to the next one to seek. A turn that errs keeps the
sub-goal or switches to a random one, with equal probability. The actions lead to the named sub-goal, even a wrong one.

Values are those of the environment: exact if the probabilities of its actions do not depend on plans.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks.environments.environment import UNKNOWN, Environment, Episodes, Problem, State, Step
from rl_jax.tasks.task import ExtraSpec, Prompts, Vocabulary

SWITCH, KEEP = "*", "-"
_TOKENS = 2
"""Length of a plan: the decision and the sub-goal."""

FACTS = {
  "switches": ExtraSpec(("K",), "int32", "1: the turn switches its sub-goal; 0: it keeps it, or has no plan"),
  "subgoal_ids": ExtraSpec(("K",), "int32", "sub-goal that the turn names; -1 without a plan"),
  "switch_tokens": ExtraSpec(("K",), "int32", "tokens of the decision to switch, with which the turn begins"),
  "subgoal_tokens": ExtraSpec(("K",), "int32", "tokens of the sub-goal after them; the action is the rest"),
}
"""Facts of a turn in addition to the environment's own; -1 without a turn."""


@dataclasses.dataclass(frozen=True)
class Subgoals:
  """Sub-goals of an environment.

  Attributes:
    first_token: token that names sub-goal 0; the others follow.
    count: number of sub-goals.
    sought: (problem, state) -> the sub-goal to seek.
    reached: (problem, state, sub-goal) -> whether the sub-goal is reached.
    act: (problem, state, sub-goal, key) -> (tokens [C], mask [C]): an imperfect turn toward it.
    error_rate: share of the turns of a demonstration that err.
  """

  first_token: int
  count: int
  sought: Callable[[Problem, State], Int[Array, ""]]
  reached: Callable[[Problem, State, Int[Array, ""]], Bool[Array, ""]]
  act: Callable[[Problem, State, Int[Array, ""], PRNGKeyArray], tuple[Int[Array, " C"], Bool[Array, " C"]]]
  error_rate: float


class PlannedState(NamedTuple):
  """State of an episode with plans."""

  inner: State
  """State of the environment itself."""
  subgoal: Int[Array, ""]
  """The sub-goal named last; -1 before the first."""


class _Turn(NamedTuple):
  """The parts of a turn, with any number of leading axes."""

  exists: Bool[Array, "*N"]
  """The turn begins with a plan."""
  switches: Bool[Array, "*N"]
  subgoal: Int[Array, "*N"]
  tokens: Int[Array, "*N C"]
  mask: Bool[Array, "*N C"]
  """The environment's own turn, empty without a plan."""


def planned(environment: Environment, subgoals: Subgoals) -> Environment:
  """The environment with plans in its turns; the decisions to switch and to keep get symbols of their own."""
  symbols = environment.vocabulary.symbols
  read = partial(_read, len(symbols), subgoals)

  def step(problem: Problem, state: PlannedState, tokens: Int[Array, " C"], mask: Bool[Array, " C"]) -> Step:
    turn = read(tokens, mask)
    inner = environment.step(problem, state.inner, turn.tokens, turn.mask)
    facts = {
      "switches": turn.switches.astype(jnp.int32), "subgoal_ids": turn.subgoal,
      "switch_tokens": turn.exists.astype(jnp.int32), "subgoal_tokens": turn.exists.astype(jnp.int32),
    }  # fmt: skip
    after = PlannedState(inner.state, jnp.where(turn.exists, turn.subgoal, state.subgoal))
    return inner._replace(state=after, facts={**inner.facts, **facts})

  def act(problem: Problem, state: PlannedState, key: PRNGKeyArray) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
    draw = partial(jax.random.fold_in, key)
    errs = jax.random.uniform(draw(0)) < subgoals.error_rate
    none = state.subgoal < 0
    over = none | subgoals.reached(problem, state.inner, state.subgoal)
    switches = jnp.where(errs, none | jax.random.bernoulli(draw(1)), over)
    chosen = jnp.where(errs, jax.random.randint(draw(2), (), 0, subgoals.count), subgoals.sought(problem, state.inner))
    subgoal = jnp.where(switches, chosen, state.subgoal)
    tokens, mask = subgoals.act(problem, state.inner, subgoal, draw(3))
    decision = jnp.where(switches, len(symbols), len(symbols) + 1)
    plan = jnp.stack([decision, subgoals.first_token + subgoal])
    return jnp.concatenate([plan, tokens]), jnp.concatenate([jnp.ones(_TOKENS, bool), mask])

  identify = environment.state_id
  return dataclasses.replace(
    environment,
    vocabulary=Vocabulary((*symbols, SWITCH, KEEP)),
    turns=dataclasses.replace(environment.turns, turn_tokens=environment.turns.turn_tokens + _TOKENS),
    reset=lambda problem: PlannedState(environment.reset(problem), jnp.int32(UNKNOWN)),
    step=step,
    act=act,
    state_id=identify and (lambda problem, state: identify(problem, state.inner)),
    facts={**environment.facts, **FACTS},
    expected_rewards=_without_plans(environment.expected_rewards, read),
    prover_rewards=_without_plans(environment.prover_rewards, read),
  )


def _read(switch: int, subgoals: Subgoals, tokens: Int[Array, "*N C"], mask: Bool[Array, "*N C"]) -> _Turn:
  """Parts of a turn. Args: switch: token of `SWITCH`; the token after it is `KEEP`."""
  decision, subgoal = tokens[..., 0], tokens[..., 1] - subgoals.first_token
  is_decision = (decision == switch) | (decision == switch + 1)
  exists = mask[..., :_TOKENS].all(axis=-1) & is_decision & (subgoal >= 0) & (subgoal < subgoals.count)
  rest = mask[..., _TOKENS:] & exists[..., None]
  return _Turn(exists, exists & (decision == switch), jnp.where(exists, subgoal, UNKNOWN), tokens[..., _TOKENS:], rest)


def _without_plans(
  values: Callable[..., Float[Array, "B S"]] | None, read: Callable[..., _Turn]
) -> Callable[..., Float[Array, "B S"]] | None:
  """Values of planned episodes, computed from the environment's own turns."""
  if values is None:
    return None

  def of_planned(prompts: Prompts, episodes: Episodes, *arguments: Any) -> Float[Array, "B S"]:
    turn = read(episodes.turns, episodes.mask)
    own = episodes._replace(turns=turn.tokens, mask=turn.mask, states=episodes.states.inner)
    return values(prompts, own, *arguments)

  return of_planned
