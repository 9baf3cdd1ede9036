"""Checks of a task's config: unknown or out-of-range fields raise a one-line ValueError with advice."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any


def complete(config: Mapping[str, Any], defaults: Mapping[str, Any], *, where: str) -> dict[str, Any]:
  """`config` over `defaults`; a field that `defaults` lacks is a ValueError with the nearest known name.

  `name`, the dotted path by which the task was chosen, may be in `config` and is dropped.
  """
  values = {key: config[key] for key in config if key != "name"}
  for key in values:
    if key not in defaults:
      near = difflib.get_close_matches(key, defaults, n=1)
      hint = f"; did you mean {near[0]!r}?" if near else ""
      raise ValueError(f"{where}: unknown field {key!r}{hint} (known: {', '.join(sorted(defaults))})")
  return {**defaults, **values}


def named(entries: Mapping[str, Any], *, where: str) -> dict[str, Any]:
  """The entries with a positive `weight`, in the order of their names; an entry without a weight counts 1.

  Ordered by name because configs are sorted when they are saved, and the order decides which id gets which entry.
  A weight of 0 takes an entry out, so that an experiment can drop one that it inherits.
  """
  for name, entry in entries.items():
    if not name or "/" in name:
      raise ValueError(f"{where}: {name!r} is not a name; use letters, digits and underscores")
    if not isinstance(entry, Mapping) and not hasattr(entry, "items"):
      raise ValueError(f"{where}.{name}: got {entry!r}, want a mapping of fields")
    number(entry.get("weight", 1.0), 0.0, float("inf"), where=f"{where}.{name}.weight")
  weighted = {name: entries[name] for name in sorted(entries) if entries[name].get("weight", 1.0) > 0}
  if not weighted:
    raise ValueError(f"{where}: no entry with a positive weight; name at least one")
  return weighted


def whole(value: Any, low: int, high: int, *, where: str) -> int:
  """`value` if it is an int in [low, high], else ValueError."""
  if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
    raise ValueError(f"{where}: got {value!r}, want a whole number from {low} to {high}")
  return value


def number(value: Any, low: float, high: float, *, where: str) -> float:
  """`value` as float if it is a finite number in [low, high], else ValueError."""
  good = isinstance(value, int | float) and not isinstance(value, bool)
  if not good or not low <= value <= high or value == float("inf"):
    raise ValueError(f"{where}: got {value!r}, want a finite number from {low:g} to {high:g}")
  return float(value)
