"""Independent decisions, each checked at once: an environment of T turns, with a bait for myopic policies.

The prompt "3+4=" asks for a sum modulo m. The policy answers "7<end>", and the environment asks for the next sum,
"5+1=". It does not say whether a decision was right; a turn of any other form is a wrong one. A right decision earns
1 / T at once; with the reward "all", the last turn earns 1 if all decisions were right.

With a `bait` above 0 the policy may write "$<end>" instead, at any turn but the last. That earns `bait` / T at once,
and the episode earns nothing more: the bait is meant to pay more than a right decision and less than all that follow.

Values: the probabilities of a right decision, of the bait and of a cut turn are estimated by counts over the batch, for
each level and turn. The values are therefore exact for a policy that depends on nothing else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.environments.environment import Environment, Episodes, Problem, Step, as_task
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Turns, Vocabulary

_VOCABULARY = Vocabulary(("<pad>", "<end>", *"0123456789", *"+=$"))
_ZERO, _PLUS, _EQUALS, _BAIT = _VOCABULARY.encode("0+=$")
_END = Vocabulary.end_id
_TURN, _QUESTION = len("7."), len("3+4=")
REWARDS = ("sum", "all")
_RIGHT, _BAITED, _WRONG, _CUT = range(4)
"""Kinds of turns. A cut turn is the last one recorded of its episode, although the episode is not over."""

_LEVEL = {
  "decisions": 4,  # T, 1 to 64
  "weight": 1.0,  # share in the mixture of levels, relative to the others; 0 takes the level out
}


def get_config() -> dict[str, Any]:
  """The fields and their defaults. A level may leave out any of its fields."""
  return {
    "levels": {"four": dict(_LEVEL)},  # name -> fields of the level
    "modulus": 10,  # 2 to 10
    "reward": "sum",  # each right decision earns its share at once; "all": 1 at the end if all were right
    "bait": 0.0,  # for "sum": reward of the bait, in right decisions; 0: there is no bait
    "spare_tokens": 1,  # room in a turn beyond a decision
    "seed": 0,  # a different seed gives other problems for the same ids
    "pool_size": 0,  # ids (of each split) to draw problems from; 0: unlimited
    "held_out_fraction": 0.125,  # share of all problems that is never trained on, 1/64 to 1/2
    "error_rate": 0.3,  # share of the decisions of a demonstration that are a random digit
    "bait_rate": 0.2,  # share of them that take the bait, where there is one
  }


class State(NamedTuple):
  """State of an episode."""

  turn: Int[Array, ""]
  open: Bool[Array, ""]
  """The bait was not taken."""
  perfect: Bool[Array, ""]
  """All decisions so far were right."""


@dataclasses.dataclass(frozen=True)
class _Decisions:
  space: splits.Space
  turns: Turns
  modulus: int
  most: int
  """Largest number of decisions of any level."""
  bait: float
  of_all: bool
  error_rate: float
  bait_rate: float
  levels: int


def build(config: Mapping[str, Any]) -> DeviceTask:
  """The task of `config` (fields as in `get_config`); ValueError in one line for a field that makes no sense."""
  return as_task(environment(config))


def environment(config: Mapping[str, Any]) -> Environment:
  """The environment of `config`. Raises: ValueError: a field makes no sense."""
  config = fields.complete(config, get_config(), where="task")
  modulus = fields.whole(config["modulus"], 2, 10, where="task.modulus")
  if config["reward"] not in REWARDS:
    raise ValueError(f"task.reward: got {config['reward']!r}, want one of {', '.join(REWARDS)}")
  bait = fields.number(config["bait"], 0.0, 64.0, where="task.bait")
  if bait and config["reward"] != "sum":
    raise ValueError(f"task.bait={bait:g} is earned at once, but task.reward is {config['reward']!r}: take 'sum'")
  levels, space = splits.read_levels(config, _LEVEL, _check_level, partial(_choices, modulus))
  most = max(level["decisions"] for level in levels.values())
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  share = lambda name: fields.number(config[name], 0.0, 1.0, where=f"task.{name}")
  decisions = _Decisions(
    space, Turns(most, _TURN + spare, _QUESTION), modulus, most, bait, config["reward"] == "all", share("error_rate"),
    share("bait_rate") if bait else 0.0, len(levels),
  )  # fmt: skip
  return Environment(
    vocabulary=_VOCABULARY,
    prompt_tokens=_QUESTION,
    levels=tuple(levels),
    turns=decisions.turns,
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, decisions),
    reset=lambda problem: State(jnp.int32(0), jnp.bool_(True), jnp.bool_(True)),
    step=partial(_step, decisions),
    act=partial(_act, decisions),
    state_id=lambda problem, state: (2 * state.turn + state.open) * 2 + state.perfect,
    facts={
      "decision_right": ExtraSpec(("K",), "bool", "the turn is the right decision"),
      "baited": ExtraSpec(("K",), "bool", "the turn takes the bait"),
    },
    expected_rewards=partial(_expected_rewards, decisions),
  )


def _check_level(level: dict[str, Any], name: str) -> dict[str, Any]:
  fields.whole(level["decisions"], 1, 64, where=f"task.levels.{name}.decisions")
  return level


def _choices(modulus: int, level: Mapping[str, Any]) -> list[list[int]]:
  """Possible values of each part of a problem: the number of decisions, and the two operands of each."""
  return [[level["decisions"]]] + [list(range(modulus))] * (2 * level["decisions"])


def _prompts(decisions: _Decisions, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(decisions.space, ids, split)
  operands = jnp.maximum(content[:, 1:], 0).reshape(len(ids), decisions.most, 2)
  tokens = jax.vmap(_question)(operands[:, 0])
  metadata = {"decisions": content[:, 0], "operands": operands}
  return Prompts(tokens, jnp.ones(tokens.shape, bool), ids, levels, metadata)


def _question(operands: Int[Array, " 2"]) -> Int[Array, " 4"]:
  return jnp.stack([_ZERO + operands[0], jnp.int32(_PLUS), _ZERO + operands[1], jnp.int32(_EQUALS)])


def _at(problem: Problem, turn: Int[Array, ""]) -> Int[Array, " 2"]:
  """Operands of a turn's decision; after the last turn, those of the last decision."""
  operands = problem["operands"]
  return operands[jnp.minimum(turn, operands.shape[0] - 1)]


def _step(
  decisions: _Decisions, problem: Problem, state: State, tokens: Int[Array, " C"], mask: Bool[Array, " C"]
) -> Step:
  count = problem["decisions"]
  well_formed = jnp.all(mask == (jnp.arange(mask.shape[0]) < _TURN)) & (tokens[1] == _END)
  right = well_formed & (tokens[0] - _ZERO == _at(problem, state.turn).sum() % decisions.modulus)
  is_last = state.turn == count - 1
  baited = well_formed & (tokens[0] == _BAIT) & ~is_last if decisions.bait else jnp.zeros_like(right)
  after = State(state.turn + 1, state.open & ~baited, state.perfect & right)
  if decisions.of_all:
    reward = jnp.where(is_last & after.perfect, 1.0, 0.0)
  else:
    reward = jnp.where(state.open, (right + decisions.bait * baited) / count, 0.0)
  return Step(
    state=after,
    observation=_question(_at(problem, state.turn + 1)),
    observation_mask=jnp.ones(_QUESTION, bool),
    reward=reward,
    done=is_last,
    solved=is_last & after.perfect,
    facts={"decision_right": right, "baited": baited},
  )


def _act(
  decisions: _Decisions, problem: Problem, state: State, key: PRNGKeyArray
) -> tuple[Int[Array, " C"], Bool[Array, " C"]]:
  """The right decision, a random digit, or the bait."""
  errs, digit, baited = jax.random.uniform(key, (3,))
  any_digit = jnp.minimum((digit * decisions.modulus).astype(jnp.int32), decisions.modulus - 1)
  decided = jnp.where(errs < decisions.error_rate, any_digit, _at(problem, state.turn).sum() % decisions.modulus)
  token = jnp.where(baited < decisions.bait_rate, _BAIT, _ZERO + decided)
  tokens = jnp.concatenate(
    [jnp.stack([token, jnp.full_like(token, _END)]), jnp.full(decisions.turns.turn_tokens - _TURN, Vocabulary.pad_id)]
  )
  return tokens, jnp.arange(tokens.shape[0]) < _TURN


def _expected_rewards(decisions: _Decisions, prompts: Prompts, episodes: Episodes) -> Float[Array, "B K+1"]:
  """V_t = p_right (r + V_t+1) + p_bait bait / T + p_wrong V_t+1 while there is something to earn, V_T = 0."""
  facts, exists = episodes.steps.facts, episodes.exists
  is_cut = exists & ~episodes.steps.done & ~jnp.pad(exists[:, 1:], ((0, 0), (0, 1)))
  kinds = jnp.where(facts["baited"], _BAITED, jnp.where(is_cut, _CUT, _WRONG))
  kinds = jnp.where(facts["decision_right"], _RIGHT, kinds)
  turns = jnp.arange(exists.shape[1])
  counts = jnp.zeros((decisions.levels, len(turns), _CUT + 1))
  counts = counts.at[prompts.levels[:, None], turns, kinds].add(exists)
  shares = (counts / jnp.maximum(counts.sum(axis=2, keepdims=True), 1.0))[prompts.levels]  # [B, K, kinds]
  total = prompts.metadata["decisions"]

  def back(after, inputs):
    turn, chances = inputs
    right, baited, wrong = chances[:, _RIGHT], chances[:, _BAITED], chances[:, _WRONG]
    if decisions.of_all:
      values = right * jnp.where(turn == total - 1, 1.0, after)
    else:
      values = right * (1 / total + after) + baited * decisions.bait / total + wrong * after
    values = jnp.where(turn < total, values, 0.0)
    return values, values

  start = jnp.zeros(total.shape)
  _, by_turn = jax.lax.scan(back, start, (turns, jnp.swapaxes(shares, 0, 1)), reverse=True)
  values = jnp.concatenate([by_turn, start[None]]).T
  states = episodes.states
  return jnp.where(states.perfect if decisions.of_all else states.open, values, 0.0)
