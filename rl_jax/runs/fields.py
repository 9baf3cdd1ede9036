"""Checks of field types in JSON objects, so that a damaged file gives a one-line error that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from rl_jax.errors import UserError
from rl_jax.runs.files import decode_number


class Kind(NamedTuple):
  """Type of JSON values, and its name in an error."""

  name: str
  fits: Callable[[Any], bool]


def list_of(kind: Kind) -> Kind:
  """Lists of values of a kind."""
  return Kind(f"a list, each {kind.name}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def by_name(kind: Kind) -> Kind:
  """Objects whose fields are all of a kind."""
  return Kind(f"{kind.name} by name", lambda value: isinstance(value, dict) and all(map(kind.fits, value.values())))


def or_null(kind: Kind) -> Kind:
  """Values of a kind, and null."""
  return Kind(f"{kind.name} or null", lambda value: value is None or kind.fits(value))


TEXT = Kind("text", lambda value: isinstance(value, str))
SHA256 = Kind("a SHA-256", lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)))
COUNT = Kind("a whole number from 0 on", lambda value: type(value) is int and value >= 0)
NUMBER = Kind("a number", lambda value: type(value) in (int, float))
MEASURED = Kind("a number, which may be NaN", lambda value: NUMBER.fits(decode_number(value)))
TRUTH = Kind("true or false", lambda value: isinstance(value, bool))
ANYTHING = Kind("a value", lambda value: True)


def check_fields(fields: Any, where: str, kinds: Mapping[str, Kind], required: Collection[str]) -> None:
  """Check that an object has the given fields with their types. Further fields are allowed.

  Args:
    where: file and place of the object, for the error.
    required: fields of `kinds` that must be present.

  Raises:
    UserError: it is not an object, or a field is missing or of another type.
  """
  if not isinstance(fields, dict):
    raise UserError(f"{where} is not a JSON object: restore the file from a copy")
  for name in required:
    if name not in fields:
      raise UserError(f"{where} has no field {name!r}: restore the file from a copy")
  for name, kind in kinds.items():
    if name in fields and not kind.fits(fields[name]):
      raise UserError(f"{where}, {name!r}: want {kind.name}, got {fields[name]!r:.60}: restore the file from a copy")
