"""Observations as tokens: the text of an answer to a turn, in a template, cut where it is too long for its slots."""

from __future__ import annotations

from typing import NamedTuple

from rl_jax.tasks.prompting import Tokenizer, quoted


class Template(NamedTuple):
  """Token ids around the text of an observation, and the slots of all of it."""

  before: list[int]
  after: list[int]
  slots: int

  def tokens(self, text: str, vocabulary: Tokenizer) -> tuple[list[int], bool]:
    """Token ids of an observation, at most `slots`, and whether its text was cut. Control tokens in it stay text."""
    ids, room = list(vocabulary.encode(quoted(text, vocabulary))), self.slots - len(self.before) - len(self.after)
    return [*self.before, *ids[:room], *self.after], len(ids) > room


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
  around = list(vocabulary.encode(before)), list(vocabulary.encode(after))
  length = sum(map(len, around))
  if not 0 < length < slots:
    raise ValueError(
      f"task.{field} has {length} tokens beside {place}, want 1 to {slots - 1}: task.observation_tokens={slots}"
    )
  return Template(*around, slots)
