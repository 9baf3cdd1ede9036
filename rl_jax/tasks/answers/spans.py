r"""Boxes and formulas in responses. Time is linear in the text.

Those that commas, "and" or "or" join are one statement, a list.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

MOST_BETWEEN = 80
"""Characters between two boxes or formulas of one statement."""


class Span(NamedTuple):
  """The places of a box or formula in a text, and of what is inside of its delimiters."""

  start: int
  end: int
  first: int
  last: int

  def inside(self, text: str) -> str:
    """Text inside the span, cut out late because boxes may be nested a thousand deep."""
    return text[self.first : self.last].strip()


# A box behind two backslashes is one, as of a text that was escaped twice.
_BRACE = re.compile(
  r"\\\\(?!f?box|framebox)|\\(?:boxed|fbox|framebox)\s*(?P<bare>[^\s${}\\,;]+)?(?P<box>\{)?|\\[{}]|(?P<brace>[{}])"
)
_DELIMITER = re.compile(r"\\\\|\\[()\[\]$]|\$\$|\$")
_CLOSING = {r"\(": r"\)", r"\[": r"\]", "$$": "$$", "$": "$"}
_JOINED = re.compile(
  r"(?:\s|\$|\\[()\[\],;:! ]|~|\\q?quad\b|[,;]|(?:and|or)\b|\\(?:text|mbox|textrm)\s*\{\s*(?:and|or|,)\s*\}"
  r"|[A-Za-z](?:_\{?\w{1,4}\}?)?\s*=)*"
)


def boxed(text: str) -> str | None:
  r"""The last \boxed{…}, \fbox{…} or \boxed 5; several of one statement joined by commas; None: there is none.

  Several boxes, or a box and more, within a box stay in its text, as they make the answer unreadable. A box that does
  not close or that is empty is none.
  """
  spans, _ = _boxes(text)
  return statement(text, spans) if spans else None


def before_open_box(text: str) -> str:
  """The text up to the first box that does not close: what is in it is cut off, and no answer."""
  return text[: _boxes(text)[1]]


def _boxes(text: str) -> tuple[list[Span], int | None]:
  """The boxes with text in them, and where the first one starts that does not close."""
  spans: list[Span] = []
  opened: list[tuple[int, int] | None] = []
  start = min((at for name in (r"\boxed", r"\fbox", r"\framebox") if (at := text.find(name)) >= 0), default=None)
  for match in _BRACE.finditer(text, start) if start is not None else ():
    if match["box"]:
      opened.append((match.start(), match.end()))
    elif match["bare"]:
      first = match.start("bare")
      spans.append(Span(match.start(), match.end(), first, first + len(match["bare"].rstrip("."))))
    elif match["brace"] == "{":
      opened.append(None)
    elif match["brace"] and opened and (box := opened.pop()):
      spans.append(_box(text, spans, box, match.start()))
  return [span for span in spans if span.inside(text)], next((box[0] for box in opened if box), None)


def _box(text: str, spans: list[Span], opening: tuple[int, int], closing: int) -> Span:
  """The box that closes, in place of those inside of it; one that holds a box and no more is that box."""
  start, first = opening
  inner: list[Span] = []
  while spans and spans[-1].start > start:
    inner.append(spans.pop())
  if len(inner) == 1 and not (text[first : inner[0].start] + text[inner[0].end : closing]).strip():
    return Span(start, closing + 1, inner[0].first, inner[0].last)
  return Span(start, closing + 1, first, closing)


def formulas(text: str) -> list[Span]:
  r"""The formulas between `$`, `$$`, `\(…\)` and `\[…\]`.

  A dollar sign before a blank opens no formula; one after a blank or before a digit closes none: they are prices.
  """
  spans: list[Span] = []
  opening: re.Match[str] | None = None
  for delimiter in _DELIMITER.finditer(text):
    sign, start, end = delimiter[0], delimiter.start(), delimiter.end()
    if sign in (r"\\", r"\$"):
      continue
    if opening is not None and sign == _CLOSING[opening[0]] and (sign != "$" or _closes(text, opening.end(), start)):
      span = Span(opening.start(), end, opening.end(), start)
      if span.inside(text):
        spans.append(span)
      opening = None
    elif sign in _CLOSING and (sign != "$" or not text[end : end + 1].isspace()):
      opening = delimiter
  return spans


def _closes(text: str, start: int, end: int) -> bool:
  one_line = text.find("\n", start, end) < 0
  return start < end and one_line and not text[end - 1].isspace() and not text[end + 1 : end + 2].isdigit()


def statement(text: str, spans: Sequence[Span]) -> str:
  """The last span with those before it that commas, "and" or "or" join to it. One that is said twice counts once."""
  parts = [spans[-1].inside(text)]
  for before, after in zip(spans[-2::-1], spans[:0:-1], strict=True):
    between = text[before.end : after.start]
    if len(between) > MOST_BETWEEN or not _JOINED.fullmatch(between):
      break
    parts.append(before.inside(text))
  return ", ".join(dict.fromkeys(reversed(parts)))
