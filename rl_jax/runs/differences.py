"""Fields of nested configs by dotted name, and the fields in which several configs differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_SHOWN_CHARACTERS = 60


class _Absent:
  def __repr__(self) -> str:
    return "absent"


ABSENT = _Absent()
"""Marker for a field that a config does not have."""


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
  """{"method": {"name": x}} as {"method.name": x}. Empty dicts are leaves."""
  flat: dict[str, Any] = {}
  for key, value in tree.items():
    if isinstance(value, dict) and value:
      flat.update(flatten(value, f"{prefix}{key}."))
    else:
      flat[f"{prefix}{key}"] = value
  return flat


def differing(trees: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
  """Dotted fields whose values differ between several nested dicts, each with one value per dict."""
  flat = [flatten(tree) for tree in trees]
  names = dict.fromkeys(name for fields in flat for name in fields)
  values = {name: [fields.get(name, ABSENT) for fields in flat] for name in names}
  return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def shortened(value: Any) -> str:
  """A value on one line, cut if it is long."""
  text = value if isinstance(value, str) else repr(value)
  text = " ".join(text.split())
  return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
