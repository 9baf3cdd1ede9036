"""Strict reader of JSON lines: values that cannot be stored or read back are refused with file and line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

DEEPEST = 100
"""Deepest nesting of lists and objects, which are walked recursively."""
_TOO_DEEP = f"more than {DEEPEST} lists or objects within one another: write them as text"
_KINDS = {type(None): "null", bool: "a boolean", int: "a number", str: "text", list: "a list", dict: "an object"}


class JsonNumber(float):
  """A number with a point or an exponent that remembers how it was written: 2.50 is no 2.5 to a comparison of text."""

  written: str

  def __str__(self) -> str:
    return self.written


class RowError(ValueError):
  """A row that makes no problem."""


def read(file: str) -> Iterator[tuple[str, dict[str, Any]]]:
  """The rows of a file, each after its place, "FILE, line N". Blank lines and a byte-order mark are skipped.

  Raises: ValueError: a line is no UTF-8, no JSON, no object, or holds what cannot be kept, in one line with the place.
  """
  # A byte that is no UTF-8 is read as a lone surrogate, so that its line can be named.
  with Path(file).open(encoding="utf-8-sig", errors="surrogateescape") as lines:
    for number, line in enumerate(lines, start=1):
      if line.strip():
        where = f"{file}, line {number}"
        try:
          yield where, row(line)
        except RowError as error:
          raise ValueError(f"{where}: {error}") from error


def row(line: str) -> dict[str, Any]:
  """The object that a line of JSON holds. Raises: RowError: it holds none, or one that cannot be kept."""
  if not _is_unicode(line):
    raise RowError("no UTF-8: save the file in that encoding")
  try:
    value = json.loads(
      line, parse_float=_decimal, parse_int=_whole, parse_constant=_no_number, object_pairs_hook=_object
    )
    if not isinstance(value, dict):
      raise RowError(f"got {kind(value)}, want an object")
    if _is_deeper(value, DEEPEST):
      raise RowError(_TOO_DEEP)
    # Escapes as in "\ud83d" give halves of characters, which no file can hold.
    if not _is_unicode(json.dumps(value, ensure_ascii=False)):
      raise RowError("half a character (a lone surrogate as in \\ud83d), which is no text")
  except json.JSONDecodeError as error:
    raise RowError(f"no JSON ({error})") from error
  except RecursionError as error:
    raise RowError(_TOO_DEEP) from error
  return value


def short(text: str) -> str:
  """The beginning of a text, for messages."""
  return text if len(text) <= 20 else f"{text[:17]}…"


def kind(value: Any) -> str:
  """A JSON value's type in words."""
  return _KINDS.get(type(value), "a number")


def _is_deeper(value: Any, limit: int) -> bool:
  """Return whether more than `limit` lists or objects are within one another."""
  level = [value]
  for _ in range(limit):
    level = [
      inner
      for outer in level
      for inner in (outer.values() if isinstance(outer, dict) else outer)
      if isinstance(inner, dict | list)
    ]
  return bool(level)


def _is_unicode(text: str) -> bool:
  try:
    text.encode()
  except UnicodeEncodeError:
    return False
  return True


def _decimal(text: str) -> JsonNumber:
  value = JsonNumber(text)
  if value in (float("inf"), -float("inf")):
    raise RowError(f"the number {short(text)} is beyond 1.8e308: write it as text")
  value.written = text
  return value


def _whole(text: str) -> int:
  try:
    return int(text)
  except ValueError as error:
    raise RowError(f"the number {short(text)} has {len(text)} digits: write it as text") from error


def _no_number(text: str) -> NoReturn:
  raise RowError(f"{text} is no number of JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  mapping = dict(pairs)
  if len(mapping) < len(pairs):
    keys = [key for key, _ in pairs]
    raise RowError(f"the field {next(key for key in keys if keys.count(key) > 1)!r} is there twice")
  if any(key.startswith("\0") for key in mapping):
    raise RowError("the name of a field begins with the character NUL")  # `entries` marks tuples and sets so
  return mapping
