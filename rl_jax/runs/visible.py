"""Text of a run for a page, a figure or a terminal: characters that would steer the reader's screen become escapes.

A policy, a data file or a folder's name may contain them: ESC starts terminal commands, U+202E reverses a line, and a
lone surrogate cannot be encoded.
"""

from __future__ import annotations

import re
import sys
from typing import Any

_STEERING = re.compile(
  "[\x00-\x1f\x7f-\x9f"  # C0, DEL and C1
  "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # the direction of text
  "\u2028\u2029"  # ends of lines
  "\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]"  # lone surrogates and noncharacters
)


def visible(text: Any, keep: str = "\n\t") -> str:
  """The text with every character that steers a screen as a backslash escape.

  Args:
    keep: characters that are kept; "": the result is one line.
  """
  return _STEERING.sub(lambda match: match[0] if match[0] in keep else _escape(match[0]), str(text))


def _escape(character: str) -> str:
  return character.encode("unicode_escape").decode()


def encodable(text: str, encoding: str | None, errors: str = "backslashreplace") -> str:
  """The text in a form that a stream of this encoding can hold."""
  encoding = encoding or "utf-8"
  try:
    text.encode(encoding)
    return text
  except UnicodeEncodeError:
    return text.replace("±", "+-").encode(encoding, errors).decode(encoding)


def say(text: str) -> None:
  """Print a text made visible on stdout, whose encoding may be ASCII only."""
  print(encodable(visible(text), sys.stdout.encoding))
