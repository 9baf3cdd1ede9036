"""Observations as tokens: the text of an answer to a turn, in a template, cut if it is too long for its slots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rl_jax.tasks.prompting import Tokenizer, quoted


class Template(NamedTuple):
  """Text around an observation, and the number of slots for both.

  Attributes:
    turn_ends: ids that end a turn of a chat. A turn ended by a stop text is closed with the first of them, before the
      observation; (): it is left open.
  """

  before: str
  after: str
  slots: int
  turn_ends: tuple[int, ...] = ()

  def tokens(self, text: str, vocabulary: Tokenizer, turn: Sequence[int] = ()) -> tuple[list[int], bool]:
    """Token ids of an observation, at most `slots`, and whether its text was cut. Control tokens in it stay text.

    An observation that fits is encoded in one piece with its template, as in a conversation.

    Args:
      turn: ids of the turn that the observation answers.
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
  """The template in a field of a task.

  Args:
    place: placeholder of the observation in the template.
    slots: `task.observation_tokens`.

  Raises: ValueError: it has no placeholder, or too many tokens or none around the placeholder.
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
