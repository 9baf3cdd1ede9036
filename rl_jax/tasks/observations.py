"""Observations as tokens: the text of an answer to a turn, in a template, cut where it is too long for its slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rl_jax.tasks.prompting import Tokenizer, quoted


class Template(NamedTuple):
  """Text around an observation, and the slots of all of it.

  Attributes:
    turn_ends: ids that end a turn of a chat. A turn that a stop text has ended is closed with the first of them, before
      the observation; (): it is left open.
  """

  before: str
  after: str
  slots: int
  turn_ends: tuple[int, ...] = ()

  def tokens(self, text: str, vocabulary: Tokenizer, turn: Sequence[int] = ()) -> tuple[list[int], bool]:
    """Token ids of an observation, at most `slots`, and whether its text was cut. Control tokens in it stay text.

    An observation that fits is encoded whole, as it is in a conversation.

    Args:
      turn: ids of the turn that it answers.
    """
    text, closing = (
      quoted(text, vocabulary),
      list(self.turn_ends[:1] if {*turn[-1:]}.isdisjoint(self.turn_ends) else ()),
    )
    whole = [*closing, *vocabulary.encode(f"{self.before}{text}{self.after}")]
    if len(whole) <= self.slots:
      return whole, False
    before, ids, after = (list(vocabulary.encode(part)) for part in (self.before, text, self.after))
    room = max(self.slots - len(closing) - len(before) - len(after), 0)
    return [*closing, *before, *ids[:room], *after], len(ids) > room


def template(text: str, place: str, vocabulary: Tokenizer, slots: int, *, field: str) -> Template:
  """The template that a field of a task holds.

  Args:
    place: what stands for the observation in it.
    slots: `task.observation_tokens`.

  Raises: ValueError: it has no place for the observation, or too many tokens beside it, or none.
  """
  before, found, after = text.partition(place)
  if not found:
    raise ValueError(f"task.{field}: got {text!r}, want {place} somewhere in it")
  length = sum(len(vocabulary.encode(part)) for part in (before, after))
  if not 0 < length < slots:
    raise ValueError(
      f"task.{field} has {length} tokens beside {place}, want 1 to {slots - 1}: task.observation_tokens={slots}"
    )
  return Template(before, after, slots)
