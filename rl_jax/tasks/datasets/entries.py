"""Entries of problems as text and back, with all Python types preserved.

Scorers compare tuples and look numbers up as keys, which plain JSON turns into lists and text. So types that JSON lacks
are written as an object with one key that begins with NUL: {"\\0tuple": [1, 2]}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_TUPLE, _SET, _PAIRS = "\0tuple", "\0set", "\0pairs"


def dumps(entry: dict[str, Any]) -> str:
  """The entry as one line of JSON.

  Raises: ValueError: it holds a type that cannot be stored.
  """
  return json.dumps(_plain(entry), ensure_ascii=False, separators=(",", ":"))


def loads(text: str) -> dict[str, Any]:
  """The entry that `dumps` wrote."""
  return json.loads(text, object_hook=_restored)


def _plain(value: Any) -> Any:
  if value is None or isinstance(value, bool | int | float | str):
    return value
  if isinstance(value, list):
    return [_plain(item) for item in value]
  if isinstance(value, tuple):
    return {_TUPLE: [_plain(item) for item in value]}
  if isinstance(value, set | frozenset):
    return {_SET: sorted((_plain(item) for item in value), key=repr)}
  if isinstance(value, Mapping) or hasattr(value, "to_dict"):
    value = value.to_dict() if hasattr(value, "to_dict") else value
    if all(isinstance(key, str) for key in value):
      return {key: _plain(item) for key, item in value.items()}
    return {_PAIRS: [[_plain(key), _plain(item)] for key, item in value.items()]}
  if getattr(value, "shape", None) == () and hasattr(value, "item"):  # a scalar of NumPy, which workers do not import
    return _plain(value.item())
  raise ValueError(f"an entry holds a {type(value).__name__}, which cannot be stored: use numbers, text, collections")


def _restored(value: dict[str, Any]) -> Any:
  if _TUPLE in value:
    return tuple(value[_TUPLE])
  if _SET in value:
    return set(value[_SET])
  if _PAIRS in value:
    return dict(value[_PAIRS])
  return value
