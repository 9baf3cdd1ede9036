"""Sums with a tool that may be called early or late: a task of two turns whose reward ignores the time of the call.

"4+7+2=" asks for the sum of the operands modulo m, 3 with m = 10. The policy may think by writing "." as often as there
is room, and call the tool with "!", which ends its turn. The tool returns the sum of all operands but the last, ">1".
The policy adds the last one and answers "#3<end>", again after any number of ".". So "..![>1]#3<end>" is a full
response, with the observation in brackets, and "![>1]..#3<end>" is equally good. It may answer without a call. The
reward is 1 for the right answer; `first_call` records the place of the call.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from rl_jax.tasks import fields, splits, sums
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

_VOCABULARY = Vocabulary(("<pad>", "<end>", *"0123456789", *"#!.>+="))
_ZERO, _MARK, _CALL, _THINK, _GIVES = _VOCABULARY.encode("0#!.>")
_END = Vocabulary.end_id
_ANSWER, _OBSERVATION = len("#3."), len(">1")

PROVIDES = {
  "answer_correct": ExtraSpec((), "bool", "the answer is right"),
  "answer_ids": ExtraSpec((), "int32", "answered number, -1 without an answer"),
  "first_call": ExtraSpec((), "int32", "number of sampled tokens before the first tool call, -1 without a call"),
  **OF_TURNS,
}


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level may omit any of its fields."""
  return {
    "levels": {"three": dict(sums.LEVEL)},  # fields of each level, by name
    "modulus": 10,  # 2 to 10; operands and answers have digits below it
    "thinking": 8,  # room for "." in a turn, beside an answer
    "seed": 0,  # seed of the problems
    "pool_size": 0,  # number of problems per split; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all problems, 1/64 to 1/2
    "direct_rate": 0.1,  # share of demonstrations that answer at random without a call
    **sums.RATES,  # of the others, which add the last operand
  }


@dataclasses.dataclass(frozen=True)
class _Calls:
  space: splits.Space
  turns: Turns
  modulus: int
  thinking: int
  prompt_tokens: int
  direct_rate: float
  rates: dict[str, float]


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  modulus, levels, space = sums.read(config)
  thinking = fields.whole(config["thinking"], 0, 1024, where="task.thinking")
  calls = _Calls(
    space=space,
    turns=Turns(2, thinking + _ANSWER, _OBSERVATION, stop_sequences=((_CALL,),)),
    modulus=modulus,
    thinking=thinking,
    prompt_tokens=sums.prompt_width(levels),
    direct_rate=fields.number(config["direct_rate"], 0.0, 1.0, where="task.direct_rate"),
    rates=sums.read_rates(config),
  )
  return DeviceTask(
    vocabulary=_VOCABULARY,
    prompt_tokens=calls.prompt_tokens,
    response_tokens=calls.turns.response_tokens,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, calls),
    verify=partial(_verify, calls),
    demonstrate=partial(_demonstrate, calls),
    forced_answer=ForcedAnswer(opening=(_MARK,), answers=_answers),
    provides=PROVIDES,
    guessing_floor=1 / modulus,
    turns=calls.turns,
  )


def _prompts(calls: _Calls, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, operands = splits.draw_problems(calls.space, ids, split)
  tokens, mask = sums.prompt_text(operands, _VOCABULARY, calls.prompt_tokens)
  digits = jnp.maximum(operands, 0)
  metadata = {
    "answers": jnp.sum(digits, axis=1) % calls.modulus,
    "partial_sums": jnp.sum(jnp.where(sums.is_last(operands), 0, digits), axis=1) % calls.modulus,
  }
  return Prompts(tokens=tokens, mask=mask, ids=ids, levels=levels, metadata=metadata)


def _answers(prompts: Prompts) -> tuple[Int[Array, "N A"], Bool[Array, "N A"]]:
  digits = _ZERO + prompts.metadata["answers"]
  tokens = jnp.stack([digits, jnp.full_like(digits, _END)], axis=1)
  return tokens, jnp.ones(tokens.shape, bool)


def _verify(calls: _Calls, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score episodes, and answer the first turn if it calls; slots may hold any token.

  A turn is its masked slots up to the first one that is not masked, and up to its first call or end token. The second
  turn counts only if the first calls. The answer is what follows the first '#' of the last turn: a digit below the
  modulus and the end token. Observations are not read.

  Extras: those of `Turns` and of PROVIDES. A step is a turn without its observation.

  Raises: ValueError: R is not that of the turns.
  """
  layout = calls.turns
  layout.check(tokens)
  turns, present = tokens[:, layout.slots], mask[:, layout.slots]
  ended = jnp.cumsum(~present | (turns == _CALL) | (turns == _END), axis=2)
  inside = present & (jnp.pad(ended[:, :, :-1], ((0, 0), (0, 0), (1, 0))) == 0)
  called = inside[:, 0] & (turns[:, 0] == _CALL)
  calls_tool = jnp.any(called, axis=1)
  second_exists = calls_tool & present[:, 1, 0]
  inside &= jnp.stack([jnp.ones_like(second_exists), second_exists], axis=1)[:, :, None]

  last = jnp.where(second_exists[:, None], turns[:, 1], turns[:, 0])
  within = jnp.where(second_exists[:, None], inside[:, 1], inside[:, 0])
  last = jnp.pad(jnp.where(within, last, Vocabulary.pad_id), ((0, 0), (0, _ANSWER - 1)))
  marks = last == _MARK
  after = lambda by: jnp.take_along_axis(last, jnp.argmax(marks, axis=1)[:, None] + by, axis=1)[:, 0]
  digits = jnp.where(jnp.any(marks, axis=1) & (after(2) == _END), after(1) - _ZERO, -1)
  answer_ids = jnp.where((digits >= 0) & (digits < calls.modulus), digits, -1)
  answer_correct = answer_ids == prompts.metadata["answers"]

  goes_on = calls_tool & ~second_exists
  of_slots = jnp.zeros(tokens.shape, bool).at[:, layout.slots].set(inside)
  values = _ZERO + prompts.metadata["partial_sums"]
  return Verdicts(
    rewards=answer_correct.astype(jnp.float32),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=jnp.where(of_slots, layout.turn_ids, -1),
    extras={
      "answer_correct": answer_correct,
      "answer_ids": answer_ids,
      "first_call": jnp.where(calls_tool, jnp.argmax(called, axis=1), -1).astype(jnp.int32),
      "observation": jnp.stack([jnp.full_like(values, _GIVES), values], axis=1),
      "observation_mask": jnp.broadcast_to(goes_on[:, None], (*goes_on.shape, _OBSERVATION)),
      "done": ~goes_on,
    },
  )


def _demonstrate(calls: _Calls, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  """Demonstrations: a call after a uniform number of ".", then the answer; or an answer without a call."""
  m, layout, metadata = calls.modulus, calls.turns, prompts.metadata
  rows = metadata["answers"].shape[0]
  direct, guesses, waits = jax.random.uniform(jax.random.fold_in(key, 0), (3, rows))
  below = lambda draws, n: jnp.minimum((draws * n).astype(jnp.int32), n - 1)
  direct = direct < calls.direct_rate
  slips = sums.draw_slips(jax.random.fold_in(key, 1), rows, m, **calls.rates)
  answers = _ZERO + jnp.where(direct, below(guesses, m), (metadata["answers"] + slips) % m)
  constant = lambda token: jnp.full_like(answers, token)

  width = layout.turn_tokens
  answer = jnp.stack([constant(_MARK), answers, constant(_END)], axis=1)
  answer = jnp.pad(answer, ((0, 0), (0, width - _ANSWER)), constant_values=Vocabulary.pad_id)
  written = jnp.broadcast_to(jnp.arange(width) < _ANSWER, answer.shape)
  waits = below(waits, calls.thinking + 1)[:, None]
  call = jnp.where(jnp.arange(width) < waits, _THINK, _CALL)
  first = jnp.where(direct[:, None], answer, call)
  first_mask = jnp.where(direct[:, None], written, jnp.arange(width) <= waits)
  observation = jnp.stack([constant(_GIVES), _ZERO + metadata["partial_sums"]], axis=1)
  goes_on = lambda x: x & ~direct[:, None]
  mask = jnp.concatenate([first_mask, goes_on(jnp.ones(observation.shape, bool)), goes_on(written)], axis=1)
  return jnp.where(mask, jnp.concatenate([first, observation, answer], axis=1), Vocabulary.pad_id), mask
