"""Format of worked responses: "a2b6c8#8<end>".

A step is a letter, which names an operation ('a' the first), and the operation's value in a fixed number of digits.
After the steps come the answer mark '#', the answer and the end token. A response may omit, repeat and reorder steps,
and contain any garbage. A task adds the arithmetic: true values and the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.tasks import fields
from rl_jax.tasks.task import ExtraSpec, ForcedAnswer, Prompts, Verdicts, Vocabulary

LETTERS = "abcdefghijklmnop"
_SYMBOLS = ("<pad>", "<end>", *"0123456789", "#", *LETTERS)
_ZERO, _MARK, _FIRST_LETTER = _SYMBOLS.index("0"), _SYMBOLS.index("#"), _SYMBOLS.index("a")
_END = Vocabulary.end_id

RATES = {
  "step_error_rate": 0.1,  # share of wrong steps in demonstrations; later steps continue from them
  "skip_rate": 0.1,  # share of omitted steps in demonstrations
  "recheck_rate": 0.1,  # share of written steps that are written twice, if there is room
}


def vocabulary(prompt_symbols: str) -> Vocabulary:
  """Symbols of worked steps, followed by those that occur only in prompts."""
  return Vocabulary(_SYMBOLS + tuple(prompt_symbols))


def response_length(steps: int, value_width: int, answer_width: int) -> int:
  """Number of tokens of a response that writes every step once."""
  return steps * (1 + value_width) + 1 + answer_width + 1


def metadata(
  step_values: Int[Array, "N S"], step_counts: Int[Array, " N"], value_widths: Int[Array, " N"],
  answers: Int[Array, " N"], answer_tokens: Int[Array, "N A"],
) -> dict[str, Array]:  # fmt: skip
  """Metadata of prompts that `verify` and `write` read.

  Args:
    step_values: true values of the operations; entries from the row's `step_counts` on are set to -1.
    value_widths: digits of a step's value.
    answers: as numbers.
    answer_tokens: as written, from `number_tokens`.
  """
  active = jnp.arange(step_values.shape[1]) < step_counts[:, None]
  return {
    "step_values": jnp.where(active, step_values, -1),
    "step_counts": step_counts,
    "value_widths": value_widths,
    "answers": answers,
    "answer_tokens": answer_tokens,
  }


def decimal_length(values: Int[Array, " N"], most: int) -> Int[Array, " N"]:
  """Digits of each number without leading zeros, at least 1; numbers are below 10**most, most <= 10."""
  return 1 + jnp.sum(values[:, None] >= 10 ** np.arange(1, most, dtype=np.int32), axis=1, dtype=jnp.int32)


def number_tokens(values: Int[Array, " N"], lengths: Int[Array, " N"], most: int) -> Int[Array, "N most+1"]:
  """The last `lengths` digits of each number, most significant first, then the end token, then -1 to the width."""
  place = lengths[:, None] - 1 - jnp.arange(most + 1)
  powers = jnp.asarray(10 ** np.arange(most, dtype=np.int32))
  digits = values[:, None] // powers[jnp.clip(place, 0, most - 1)] % 10 + _ZERO
  return jnp.where(place >= 0, digits, jnp.where(place == -1, _END, -1)).astype(jnp.int32)


def digit_slots(
  values: Int[Array, "*N"], widths: Int[Array, "*N"], most: int
) -> tuple[Int[Array, "*N most"], Bool[Array, "*N most"]]:
  """(tokens, keep): the digits of each number in `most` slots, of which the last `widths` are kept."""
  place = np.arange(most, dtype=np.int32)[::-1]
  return values[..., None] // 10**place % 10 + _ZERO, jnp.asarray(place) < widths[..., None]


def align(
  tokens: Int[Array, "N K"], keep: Bool[Array, "N K"], width: int, *, right: bool = False
) -> tuple[Int[Array, "N width"], Bool[Array, "N width"]]:
  """(tokens, mask): the kept tokens moved together, to the left or right edge of `width` slots; 0 in the others."""
  target = jnp.cumsum(keep, axis=1) - 1
  total = target[:, -1:] + 1
  slots = jnp.arange(width)
  if right:
    target = target + width - total
  # A sum over comparisons: vectorised and the same under any sharding, where a scatter on a CPU goes slot by slot.
  hit = keep[:, :, None] & (target[:, :, None] == slots)
  out = jnp.sum(jnp.where(hit, tokens[:, :, None], 0), axis=1, dtype=jnp.int32)
  return out, slots >= width - total if right else slots < total


PROVIDES = {
  "step_correct": ExtraSpec(("R",), "bool", "the step states the true value of the operation that it names"),
  "step_true_values": ExtraSpec(("R",), "int32", "true value of the operation that the step names"),
  "step_values": ExtraSpec(("R",), "int32", "value that the step states"),
  "step_operations": ExtraSpec(("R",), "int32", "operation that the step names"),
  "answer_correct": ExtraSpec((), "bool", "the answer is right"),
  "answer_ids": ExtraSpec((), "int32", "one number for each answer, -1 without an answer"),
}
"""Extras of `verify`, which says what they hold outside of steps."""


def verify(prompts: Prompts, tokens: Int[Array, "B R"], mask: Bool[Array, "B R"]) -> Verdicts:
  """Score responses of any width R; the slots may hold anything.

  A response is the masked slots up to the first one that is not masked, and up to its first end token. The reward is 1
  if the first '#' is followed by exactly the answer and the end token, else 0. A step runs from its letter to before
  the next one; everything from the first '#' on is the last step.

  Extras:
    step_correct: bool [B, R], whether the token's step states the true value of the operation that it names: exactly
      the right digits after the letter. For the answer, whether it is right. False outside steps.
    step_true_values: int32 [B, R], true value of the operation that the token's step names, -1 where there is none
      (outside steps, or a letter beyond the operations). For the answer, the true answer.
    step_values: int32 [B, R], the value that the step states, -1 if malformed, for the answer and outside steps.
    step_operations: int32 [B, R], index of the operation that the step names (also one that the problem lacks), -1
      for the answer and outside steps.
    answer_correct: bool [B].
    answer_ids: int32 [B], equal where the digits of the answer are, whether right or wrong; -1 where there is no
      answer: no '#', or other than one to A - 1 digits and the end token after it, with A slots of `answer_tokens`.
      Answers of more than nine digits may share an id.
  """
  metadata, width = prompts.metadata, tokens.shape[1]
  ended_before = _before(jnp.cumsum(~mask | (tokens == _END), axis=1))
  inside = mask & (ended_before == 0)
  tokens = jnp.where(inside, tokens, Vocabulary.pad_id)

  marks = jnp.cumsum(tokens == _MARK, axis=1)
  answer_start = (tokens == _MARK) & (marks == 1)
  operations = tokens - _FIRST_LETTER
  letters = (operations >= 0) & (operations < len(LETTERS)) & (marks == 0)
  starts = letters | answer_start
  step_ids = jnp.where(inside, jnp.cumsum(starts, axis=1) - 1, -1)

  answers = _after_mark(tokens, answer_start, metadata["answer_tokens"].shape[1])
  answer_correct = jnp.all((answers == metadata["answer_tokens"]) | (metadata["answer_tokens"] < 0), axis=1)
  stated = stated_values(tokens, metadata["value_widths"])
  in_problem = letters & (operations < metadata["step_counts"][:, None])
  index = jnp.clip(operations, 0, metadata["step_values"].shape[1] - 1)
  true_values = jnp.where(in_problem, jnp.take_along_axis(metadata["step_values"], index, axis=1), -1)
  correct = jnp.where(answer_start, answer_correct[:, None], in_problem & (stated == true_values))
  true_values = jnp.where(answer_start, metadata["answers"][:, None], true_values)

  # Each token reads its step's first slot.
  source = jax.lax.cummax(jnp.where(starts, jnp.arange(width), 0), axis=1)

  def spread(at_start, outside):
    return jnp.where(step_ids >= 0, jnp.take_along_axis(at_start, source, axis=1), outside)

  return Verdicts(
    rewards=answer_correct.astype(jnp.float32),
    reward_mask=jnp.ones(tokens.shape[0], bool),
    step_ids=step_ids.astype(jnp.int32),
    extras={
      "step_correct": spread(correct, False),
      "step_true_values": spread(true_values, -1),
      "step_values": spread(jnp.where(letters, stated, -1), -1),
      "step_operations": spread(jnp.where(letters, operations, -1), -1),
      "answer_correct": answer_correct,
      "answer_ids": _answer_ids(answers),
    },
  )


def _answers(prompts: Prompts) -> tuple[Int[Array, "N A"], Bool[Array, "N A"]]:
  tokens = prompts.metadata["answer_tokens"]
  return jnp.where(tokens >= 0, tokens, Vocabulary.pad_id), tokens >= 0


FORCED_ANSWER = ForcedAnswer(opening=(_MARK,), answers=_answers)
"""The answer mark, and after it the answer."""


def _before(totals: Int[Array, "B R"]) -> Int[Array, "B R"]:
  return jnp.pad(totals[:, :-1], ((0, 0), (1, 0)))


def _ahead(x: Int[Array, "B R"], by: int, fill: int) -> Int[Array, "B R"]:
  """Entry t is x[t + by], `fill` past the end."""
  return jnp.pad(x, ((0, 0), (0, by)), constant_values=fill)[:, by:]


def stated_values(tokens: Int[Array, "B R"], widths: Int[Array, " B"]) -> Int[Array, "B R"]:
  """The number after each slot, -1 unless exactly `widths` (1 or 2) digits follow it."""
  digits = jnp.where((tokens >= _ZERO) & (tokens < _ZERO + 10), tokens - _ZERO, -1)
  one, two, three = (_ahead(digits, by, -1) for by in (1, 2, 3))
  single = jnp.where((one >= 0) & (two < 0), one, -1)
  double = jnp.where((one >= 0) & (two >= 0) & (three < 0), 10 * one + two, -1)
  return jnp.where(widths[:, None] == 1, single, double)


def _after_mark(tokens: Int[Array, "B R"], answer_start: Bool[Array, "B R"], slots: int) -> Int[Array, "B A"]:
  """The tokens in `slots` slots after the answer mark, padding where there is no mark and past the end."""
  places = jnp.argmax(answer_start, axis=1)[:, None] + 1 + jnp.arange(slots)
  after = jnp.take_along_axis(tokens, jnp.minimum(places, tokens.shape[1] - 1), axis=1)
  there = jnp.any(answer_start, axis=1)[:, None] & (places < tokens.shape[1])
  return jnp.where(there, after, Vocabulary.pad_id)


def _answer_ids(answers: Int[Array, "B A"]) -> Int[Array, " B"]:
  """Digits up to the end token as one number in which the digits count from 1, so that leading zeros count too."""
  most = answers.shape[1] - 1
  written = jnp.cumsum(answers == _END, axis=1) == 0
  digits = answers - _ZERO
  length = jnp.sum(written, axis=1)
  whole = (length > 0) & (length <= most) & jnp.all(~written | ((digits >= 0) & (digits < 10)), axis=1)
  powers = jnp.asarray(10 ** np.arange(most, dtype=np.uint64) % 2**32, jnp.uint32)
  places = jnp.clip(length[:, None] - 1 - jnp.arange(most + 1), 0, most - 1)
  number = jnp.sum(jnp.where(written, (digits + 1).astype(jnp.uint32) * powers[places], 0), axis=1, dtype=jnp.uint32)
  return jnp.where(whole, (number & 0x7FFFFFFF).astype(jnp.int32), -1)


class Flaws(NamedTuple):
  """Errors of each step of a demonstration."""

  slips: Int[Array, "N S"]
  """Error of the value, modulo the number of outcomes: 0 is right, else 1 to outcomes - 1, uniform."""
  copies: Int[Array, "N S"]
  """Times that the step is written: 0 skipped, 1, or 2 re-checked."""


def check_rates(config: Mapping[str, float]) -> dict[str, float]:
  """The fields of RATES in `config`; ValueError unless each is in [0, 1]."""
  return {name: fields.number(config[name], 0.0, 1.0, where=f"task.{name}") for name in RATES}


def draw_flaws(
  key: PRNGKeyArray, steps: int, outcomes: Int[Array, " N"], *,
  step_error_rate: float, skip_rate: float, recheck_rate: float,
) -> Flaws:  # fmt: skip
  """Independent flaws for every step; a step may take `outcomes` different values."""
  draws: Float[Array, "4 N S"] = jax.random.uniform(key, (4, outcomes.shape[0], steps))
  others = outcomes[:, None] - 1
  slips = 1 + jnp.minimum((draws[1] * others).astype(jnp.int32), others - 1)
  twice = (draws[3] < recheck_rate).astype(jnp.int32)
  return Flaws(
    slips=jnp.where(draws[0] < step_error_rate, slips, 0),
    copies=jnp.where(draws[2] < skip_rate, 0, 1 + twice),
  )


def write(
  metadata: Mapping[str, Array], values: Int[Array, "N S"], answer_tokens: Int[Array, "N A"],
  copies: Int[Array, "N S"], response_tokens: int,
) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:  # fmt: skip
  """(tokens, mask) of responses that state `values` and the answer, each step `copies` times (0, 1 or 2).

  A second copy that does not fit any more is left out, so `response_tokens` must hold all steps once and the answer.
  """
  num_rows, num_steps = values.shape
  widths = metadata["value_widths"]
  active = jnp.arange(num_steps) < metadata["step_counts"][:, None]
  once = active & (copies >= 1)
  twice = active & (copies >= 2)
  answer_keep = jnp.pad(answer_tokens >= 0, ((0, 0), (1, 0)), constant_values=True)
  room = response_tokens - (jnp.sum(once, axis=1) * (1 + widths) + jnp.sum(answer_keep, axis=1))
  twice &= jnp.cumsum(twice, axis=1) * (1 + widths)[:, None] <= room[:, None]

  digits, digit_keep = digit_slots(jnp.maximum(values, 0), jnp.broadcast_to(widths[:, None], values.shape), 2)
  letters = jnp.broadcast_to(_FIRST_LETTER + jnp.arange(num_steps), values.shape)
  steps = jnp.concatenate([letters[..., None], digits], axis=2)
  steps_keep = jnp.concatenate([jnp.ones_like(once)[..., None], digit_keep], axis=2)
  steps = jnp.stack([steps, steps], axis=2)
  steps_keep = steps_keep[:, :, None, :] & jnp.stack([once, twice], axis=2)[..., None]

  tokens = jnp.concatenate(
    [steps.reshape(num_rows, -1), jnp.full((num_rows, 1), _MARK), jnp.maximum(answer_tokens, 0)], axis=1
  )
  return align(tokens, jnp.concatenate([steps_keep.reshape(num_rows, -1), answer_keep], axis=1), response_tokens)


def solutions(response_tokens: int, prompts: Prompts) -> tuple[Int[Array, "N R"], Bool[Array, "N R"]]:
  """(tokens, mask) of responses that write every step once, with its true value, and the answer."""
  metadata = prompts.metadata
  values = metadata["step_values"]
  return write(metadata, values, metadata["answer_tokens"], jnp.ones_like(values), response_tokens)
