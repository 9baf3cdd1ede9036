"""Pairs of digits with a given sum: a task with several right answers, some rare in demonstrations.

"4+7+2=" asks for two digits whose sum is that of the operands modulo m: with m = 10 it is 3, so "12<end>", "21<end>"
and "85<end>" are right, one answer for each first digit. Demonstrations draw the first digit k with a probability
proportional to (1 - skew)^k, so that a policy that learns from them seldom writes high first digits. Whether they
survive shows in pass@k, and in `part/rare`: the share of right responses whose first digit has less than half of its
uniform share in demonstrations. Levels differ in the number of operands.
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

from rl_jax.tasks import fields, splits, sums
from rl_jax.tasks.task import DeviceTask, ExtraSpec, Prompts, Split, Verdicts, Vocabulary

_VOCABULARY = Vocabulary(("<pad>", "<end>", *"0123456789", *"+="))
(_ZERO,) = _VOCABULARY.encode("0")
_END = Vocabulary.end_id
_ANSWER = len("12.")

PROVIDES = {
  "answer_correct": ExtraSpec((), "bool", "the answer is right"),
  "answer_ids": ExtraSpec((), "int32", "10 * first digit + second digit, -1 without an answer"),
  "part/rare": ExtraSpec((), "float32", "1 if the answer is right and its first digit is rare in demonstrations"),
}


def get_config() -> dict[str, Any]:
  """Fields and their defaults. A level may omit any of its fields."""
  return {
    "levels": {"three": dict(sums.LEVEL)},  # fields of each level, by name
    "modulus": 10,  # 2 to 10; operands and answers have digits below it
    "seed": 0,  # seed of the problems
    "pool_size": 0,  # number of problems per split; 0: unlimited
    "held_out_fraction": 0.125,  # held-out share of all problems, 1/64 to 1/2
    "spare_tokens": 1,  # room in a response beyond an answer
    "skew": 0.4,  # 0: demonstrations have all first digits alike; below 1
    **sums.RATES,
  }


@dataclasses.dataclass(frozen=True)
class _Pairs:
  space: splits.Space
  modulus: int
  prompt_tokens: int
  response_tokens: int
  chances: np.ndarray
  """[m] of each first digit in demonstrations."""
  rates: dict[str, float]


def build(config: Mapping[str, Any]) -> DeviceTask:
  """Build the task of `config` (fields as in `get_config`). Raises ValueError, in one line, for an invalid field."""
  config = fields.complete(config, get_config(), where="task")
  modulus, levels, space = sums.read(config)
  # Chances of all digits are above 0 up to the highest skew.
  weights = (1 - fields.number(config["skew"], 0.0, 0.99, where="task.skew")) ** np.arange(modulus)
  pairs = _Pairs(
    space=space,
    modulus=modulus,
    prompt_tokens=sums.prompt_width(levels),
    response_tokens=_ANSWER + fields.whole(config["spare_tokens"], 0, 1024, where="task.spare_tokens"),
    chances=weights / weights.sum(),
    rates=sums.read_rates(config),
  )
  return DeviceTask(
    vocabulary=_VOCABULARY,
    prompt_tokens=pairs.prompt_tokens,
    response_tokens=pairs.response_tokens,
    levels=tuple(levels),
    problem_ids=partial(splits.draw_ids, space),
    prompts=partial(_prompts, pairs),
    verify=partial(_verify, pairs),
    demonstrate=partial(_demonstrate, pairs),
    provides=PROVIDES,
    guessing_floor=1 / modulus,
  )


def _prompts(pairs: _Pairs, ids: Int[Array, " N"], split: Split) -> Prompts:
  levels, operands = splits.draw_problems(pairs.space, ids, split)
  tokens, mask = sums.prompt_text(operands, _VOCABULARY, pairs.prompt_tokens)
  metadata = {"sums": jnp.sum(jnp.maximum(operands, 0), axis=1) % pairs.modulus}
  return Prompts(tokens=tokens, mask=mask, ids=ids, levels=levels, metadata=metadata)


def _verify(pairs: _Pairs, prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score responses of any width R; the slots may hold anything.

  A response is the masked slots up to the first one that is not masked, and up to its first end token. The reward is 1
  if it is two digits below the modulus, of the right sum, and the end token. All of it is one step.
  """
  width = tokens.shape[1]
  ended = jnp.cumsum(~mask | (tokens == _END), axis=1)
  inside = mask & (jnp.pad(ended[:, :-1], ((0, 0), (1, 0))) == 0)
  wide = jnp.pad(jnp.where(inside, tokens, Vocabulary.pad_id), ((0, 0), (0, max(0, _ANSWER - width))))
  first, second = wide[:, 0] - _ZERO, wide[:, 1] - _ZERO
  is_digit = lambda x: (x >= 0) & (x < pairs.modulus)
  answers = is_digit(first) & is_digit(second) & (wide[:, 2] == _END)
  correct = answers & ((first + second) % pairs.modulus == prompts.metadata["sums"])
  rare = jnp.asarray(pairs.chances < 0.5 / pairs.modulus)[jnp.where(answers, first, 0)]
  return Verdicts(
    rewards=correct.astype(jnp.float32),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=jnp.where(inside, 0, -1),
    extras={
      "answer_correct": correct,
      "answer_ids": jnp.where(answers, 10 * first + second, -1),
      "part/rare": (correct & rare).astype(jnp.float32),
    },
  )


def _demonstrate(pairs: _Pairs, key: PRNGKeyArray, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  answers, m = prompts.metadata["sums"], pairs.modulus
  draws = jax.random.uniform(jax.random.fold_in(key, 0), answers.shape)
  first = jnp.sum(draws[:, None] >= jnp.asarray(np.cumsum(pairs.chances)[:-1], jnp.float32), axis=1, dtype=jnp.int32)
  slips = sums.draw_slips(jax.random.fold_in(key, 1), answers.shape[0], m, **pairs.rates)
  second = (answers - first + slips) % m
  tokens = jnp.stack([_ZERO + first, _ZERO + second, jnp.full_like(first, _END)], axis=1)
  spare = ((0, 0), (0, pairs.response_tokens - _ANSWER))
  return jnp.pad(tokens, spare), jnp.pad(jnp.ones(tokens.shape, bool), spare)
