"""The error that a person reads: one line, without a traceback."""

from __future__ import annotations


class UserError(Exception):
  """Bad input, or a run that cannot continue.

  The message says what was given and what to do. It is one line: characters that would control a terminal, such as ESC
  or a line break in the name of a folder, are shown as escapes. Commands print it and exit with status 1.
  """

  def __init__(self, message: str = ""):
    super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))
