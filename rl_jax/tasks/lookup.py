"""Lookups of several hops in a hidden table: a task of several turns with a tool.

The prompt "c2=" means: start with key c and follow the table for two hops. The policy asks for a key, "?c<end>", and
the tool answers ">k": c leads to k ("!" where the table has no such key). It asks again, "?k<end>" gives ">f", and
answers "#f<end>". Any other turn ends the episode, and so does the last turn. The whole response of this example, with
its observations in brackets, is "?c<end>[>k]?k<end>[>f]#f<end>".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits
from rl_jax.tasks.task import (
  OF_TURNS,
  DeviceTask,
  ExtraSpec,
  ForcedAnswer,
  Prompts,
  Split,
  Turns,
  Verdicts,
  Vocabulary,
)  # fmt: skip

KEYS = "abcdefghijklmnopqrstuvwxyz"
_SYMBOLS = ("<pad>", "<end>", *"?#>!=123456789", *KEYS)
_ASK, _MARK, _GIVES, _UNKNOWN, _EQUALS, _ONE, _FIRST_KEY = (_SYMBOLS.index(symbol) for symbol in "?#>!=1a")
_END = Vocabulary.end_id
_TURN, _OBSERVATION = len("?c."), len(">k")
_FIELDS_BEFORE_TABLE = 3

_LEVEL = {
  "hops": 3,  # 1 to 9
  "keys": 10,  # 4 to 26, of the table; the path may come back to a key
  "weight": 1.0,  # relative weight among the levels; 0 drops the level
}
RATES = {
  "stray_rate": 0.1,  # share of the questions that a demonstration asks for a random key; it goes on from there
  "guess_rate": 0.3,  # chance, before each hop, that it answers a random key instead
}


PROVIDES = {
  "step_correct": ExtraSpec(("R",), "bool", "True on turns that take the next hop or give the right answer"),
  "answer_correct": ExtraSpec((), "bool", "an answer is right"),
  **OF_TURNS,
}


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level may omit any of its fields."""
  return {
    "levels": {"three": dict(_LEVEL)},  # fields of each level, by name
    "max_turns": None,  # the answer's included; None: one more than the longest level needs
    "spare_tokens": 1,  # room in a turn beyond a question or an answer
    "seed": 0,  # seed of the problems
    "pool_size": 0,  # number of problems per split; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all pairs of table and start, 1/64 to 1/2
    **RATES,
  }


@dataclasses.dataclass(frozen=True)
class _Lookup:
  space: splits.Space
  turns: Turns
  hops: int
  """Largest number of hops of any level."""
  rates: dict[str, float]


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  levels, space = splits.read_levels(config, _LEVEL, _check_level, _choices)
  hops = max(level["hops"] for level in levels.values())
  most = hops + 2 if config["max_turns"] is None else config["max_turns"]
  spare = fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens")
  lookup = _Lookup(
    space=space,
    turns=Turns(fields.whole(most, hops + 1, 1024, where="task.max_turns"), _TURN + spare, _OBSERVATION),
    hops=hops,
    rates={name: fields.number(config[name], 0.0, 1.0, where=f"task.{name}") for name in RATES},
  )
  return DeviceTask(
    provides=PROVIDES,
    vocabulary=Vocabulary(_SYMBOLS),
    prompt_tokens=len("c2="),
    response_tokens=lookup.turns.response_tokens,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, lookup),
    verify=partial(_verify, lookup),
    demonstrate=partial(_demonstrate, lookup),
    forced_answer=ForcedAnswer(opening=(_MARK,), answers=_answers),
    turns=lookup.turns,
  )


def _check_level(level: dict[str, Any], name: str) -> dict[str, Any]:
  fields.whole(level["hops"], 1, 9, where=f"task.levels.{name}.hops")
  fields.whole(level["keys"], 4, len(KEYS), where=f"task.levels.{name}.keys")
  return level


def _choices(level: Mapping[str, Any]) -> list[list[int]]:
  """Content: number of keys, hops, the start, and where each key leads."""
  keys = list(range(level["keys"]))
  return [[level["keys"]], [level["hops"]], keys] + [keys] * level["keys"]


def _prompts(lookup: _Lookup, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, content = splits.draw_problems(lookup.space, ids, split)
  sizes, hops, starts, tables = content[:, 0], content[:, 1], content[:, 2], content[:, _FIELDS_BEFORE_TABLE:]

  def hop(key, _):
    after = jnp.take_along_axis(tables, key[:, None], axis=1)[:, 0]
    return after, after

  _, after = jax.lax.scan(hop, starts, None, length=lookup.hops)
  path = jnp.concatenate([starts[:, None], after.T], axis=1)
  tokens = jnp.stack([_FIRST_KEY + starts, _ONE + hops - 1, jnp.full_like(hops, _EQUALS)], axis=1)
  metadata = {
    "sizes": sizes,
    "hops": hops,
    "tables": tables,
    "path": path,
    "answers": jnp.take_along_axis(path, hops[:, None], axis=1)[:, 0],
  }
  return Prompts(tokens=tokens, mask=jnp.ones(tokens.shape, bool), ids=ids, levels=levels, metadata=metadata)


def _answers(prompts: Prompts) -> tuple[Int[Array, "N A"], Bool[Array, "N A"]]:
  keys = _FIRST_KEY + prompts.metadata["answers"]
  tokens = jnp.stack([keys, jnp.full_like(keys, _END)], axis=1)
  return tokens, jnp.ones(tokens.shape, bool)


def _verify(lookup: _Lookup, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score episodes, and answer their last turn; slots may hold any token.

  An episode is its turns up to the first that is not a question. The reward is 1 if that one is the right answer.
  Observations are not read.

  Extras: those of `Turns`, and
    step_correct: bool [B, R], whether the token's turn takes the next hop, or is the right answer. False outside turns.
    answer_correct: bool [B].
  A step is a turn without its observation.

  Raises: ValueError: R is not that of the turns.
  """
  layout, metadata = lookup.turns, prompts.metadata
  layout.check(tokens)
  turns, present = tokens[:, layout.slots], mask[:, layout.slots]
  keys = turns[:, :, 1] - _FIRST_KEY
  well_formed = jnp.all(present == (np.arange(layout.turn_tokens) < _TURN), axis=2)
  well_formed &= (keys >= 0) & (keys < len(KEYS)) & (turns[:, :, 2] == _END)
  asks = well_formed & (turns[:, :, 0] == _ASK)
  after_questions = jnp.pad(jnp.cumprod(asks, axis=1)[:, :-1], ((0, 0), (1, 0)), constant_values=1) == 1
  exists = present[:, :, 0] & after_questions
  right = exists & well_formed & (turns[:, :, 0] == _MARK) & (keys == metadata["answers"][:, None])
  answer_correct = jnp.any(right, axis=1)

  last = jnp.maximum(jnp.sum(exists, axis=1, dtype=jnp.int32) - 1, 0)
  of_last = lambda x: jnp.take_along_axis(x, last[:, None], axis=1)[:, 0]
  done = ~of_last(exists & asks) | (last == layout.max_turns - 1)
  queried = of_last(keys)
  in_table = (queried >= 0) & (queried < metadata["sizes"])
  values = jnp.take_along_axis(metadata["tables"], jnp.where(in_table, queried, 0)[:, None], axis=1)[:, 0]
  observations = jnp.stack([jnp.full_like(values, _GIVES), _FIRST_KEY + values], axis=1)

  correct = right | (exists & asks & _takes_a_hop(metadata, keys))
  step_ids = jnp.where(mask & ~layout.observed & exists[:, layout.turn_ids], layout.turn_ids, -1)
  return Verdicts(
    rewards=answer_correct.astype(jnp.float32),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=step_ids,
    extras={
      "step_correct": (step_ids >= 0) & correct[:, layout.turn_ids],
      "answer_correct": answer_correct,
      "observation": jnp.where(in_table[:, None], observations, jnp.array([Vocabulary.pad_id, _UNKNOWN])),
      "observation_mask": jnp.stack([in_table, jnp.ones_like(in_table)], axis=1) & ~done[:, None],
      "done": done,
    },
  )


def _takes_a_hop(metadata: Mapping[str, Array], keys: Int[Array, "B K"]) -> Bool[Array, "B K"]:
  """Return whether each turn, taken as a question, asks for the key that comes next on the path."""

  def turn(hops, key):
    next_key = jnp.take_along_axis(metadata["path"], hops[:, None], axis=1)[:, 0]
    right = (hops < metadata["hops"]) & (key == next_key)
    return hops + right, right

  _, right = jax.lax.scan(turn, jnp.zeros_like(metadata["hops"]), keys.T)
  return right.T


def _demonstrate(lookup: _Lookup, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  layout, metadata = lookup.turns, prompts.metadata
  rows = metadata["hops"].shape[0]
  stray, guess, draws = jax.random.uniform(key, (3, layout.max_turns, rows))
  random_keys = jnp.minimum((draws * metadata["sizes"]).astype(jnp.int32), metadata["sizes"] - 1)

  def turn(carry, inputs):
    at, left, goes_on = carry
    stray, guess, random_key = inputs
    answers = guess | (left == 0)
    keys = jnp.where(jnp.where(answers, left > 0, stray), random_key, at)
    values = jnp.take_along_axis(metadata["tables"], keys[:, None], axis=1)[:, 0]
    asks = goes_on & ~answers
    return (values, left - 1, asks), (answers, keys, values, goes_on, asks)

  start = metadata["path"][:, 0], metadata["hops"], jnp.ones(rows, bool)
  flaws = stray < lookup.rates["stray_rate"], guess < lookup.rates["guess_rate"], random_keys
  _, turns = jax.lax.scan(turn, start, flaws)
  answers, keys, values, goes_on, asks = (x.T for x in turns)
  constant = lambda token: jnp.full(keys.shape, token)
  spare = layout.turn_tokens - _TURN
  text = [jnp.where(answers, _MARK, _ASK), _FIRST_KEY + keys, constant(_END)] + [constant(Vocabulary.pad_id)] * spare
  text += [constant(_GIVES), _FIRST_KEY + values]
  keep = [goes_on] * _TURN + [jnp.zeros_like(goes_on)] * spare + [asks] * _OBSERVATION
  flat = lambda parts: jnp.stack(parts, axis=2).reshape(rows, -1)[:, : layout.response_tokens]
  mask = flat(keep)
  return jnp.where(mask, flat(text), Vocabulary.pad_id), mask
