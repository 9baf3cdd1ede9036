"""User-facing error: printed as one line, without a traceback."""

from __future__ import annotations


class UserError(Exception):
  """Bad input, or a run that cannot continue.

  The message says what was given and what to do. Commands print it as one line and exit with status 1. Control
  characters, such as ESC or a line break in the name of a folder, are shown as escapes.
  """

  def __init__(self, message: str = ""):
    super().__init__("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in message))
