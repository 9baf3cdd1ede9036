"""Tokens read in order, and groups of them in braces."""

from __future__ import annotations

from rl_jax.tasks.answers.tokens import Token, canonical
from rl_jax.tasks.answers.trees import Unreadable

_IN_SCRIPTS = ("number", "letters", "word", "name", "command")


class Cursor:
  """A place in tokens, `at`."""

  def __init__(self, tokens: list[Token]):
    self.tokens = tokens
    self.at = 0

  def peek(self) -> Token:
    """The next token; one of the kind "end of text" after the last."""
    return self.tokens[self.at] if self.at < len(self.tokens) else Token("end of text", "")

  def next(self) -> Token:
    """The next token, which is then read."""
    token = self.peek()
    self.at += 1
    return token

  def expect(self, closing: str) -> None:
    """Read the sign or command that closes a bracket.

    Raises: Unreadable: the next token is another.
    """
    token = self.next()
    if not (token.is_sign(closing) or token.is_command(closing)):
      raise Unreadable(f"got {token.text or 'the end'!r}, want {closing!r}")

  def label(self) -> str:
    """A subscript as text."""
    return canonical(self.raw_group())

  def raw_group(self) -> list[Token]:
    """The tokens of a group in braces without them, or the one token that stands for it.

    Raises: Unreadable: the group is empty or does not close.
    """
    token = self.next()
    if not token.is_sign("{"):
      if token.kind not in _IN_SCRIPTS:
        raise Unreadable(f"unexpected {token.text!r} as a script")
      return [token]
    start, depth = self.at, 1
    while depth:
      token = self.next()
      depth += token.is_sign("{") - token.is_sign("}")
      if token.kind == "end of text":
        raise Unreadable("a brace is not closed")
    if self.at - 1 == start:
      raise Unreadable("an empty group")
    return self.tokens[start : self.at - 1]
