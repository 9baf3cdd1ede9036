"""Fields of a launch in manifest.json and their types: a damaged entry ends in one line that names the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

from rl_jax.errors import UserError


class _Kind(NamedTuple):
  """A type of JSON values, and its name in an error."""

  name: str
  fits: Callable[[Any], bool]


def _list_of(kind: _Kind) -> _Kind:
  return _Kind(f"a list, each {kind.name}", lambda value: isinstance(value, list) and all(map(kind.fits, value)))


def _by_name(kind: _Kind) -> _Kind:
  return _Kind(f"{kind.name} by name", lambda value: isinstance(value, dict) and all(map(kind.fits, value.values())))


def _or_null(kind: _Kind) -> _Kind:
  return _Kind(f"{kind.name} or null", lambda value: value is None or kind.fits(value))


_TEXT = _Kind("text", lambda value: isinstance(value, str))
_SHA256 = _Kind("a SHA-256", lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)))
_COUNT = _Kind("a whole number from 0 on", lambda value: type(value) is int and value >= 0)
_NUMBER = _Kind("a number", lambda value: type(value) in (int, float))
_TRUTH = _Kind("true or false", lambda value: isinstance(value, bool))
_ANYTHING = _Kind("a value", lambda value: True)
_BY_STEP = _Kind(
  "a SHA-256 by step",
  lambda value: _by_name(_SHA256).fits(value) and all(step.isdecimal() and step == str(int(step)) for step in value),
)
_START = _Kind("[folder, SHA-256]", lambda value: _list_of(_TEXT).fits(value) and len(value) == 2)

_LAUNCH = {
  "started": _TEXT, "command": _list_of(_TEXT), "devices": _TEXT, "flags": _by_name(_TEXT),
  "packages": _by_name(_TEXT), "python": _TEXT, "platform": _TEXT, "cpu_model": _TEXT,
  "cpu_features_sha256": _or_null(_SHA256), "cpu_threads": _or_null(_COUNT), "cpu_threads_allowed": _or_null(_COUNT),
  "git_commit": _or_null(_TEXT), "git_clean": _or_null(_TRUTH), "uncommitted_sha256": _or_null(_TEXT),
  "identity": _TEXT, "method_sha256": _SHA256, "papers": _list_of(_TEXT), "data_fingerprint": _TEXT,
  "guessing_floor": _or_null(_NUMBER), "parameters": _by_name(_COUNT), "settings": _by_name(_ANYTHING),
  "processes": _COUNT, "resumed_from": _COUNT, "started_from": _TEXT, "start_sha256": _TEXT,
  "models_started_from": _by_name(_START), "files": _by_name(_SHA256), "end": _by_name(_ANYTHING),
}  # fmt: skip
_END = {
  "ended": _TEXT, "wall_seconds": _NUMBER, "iterations": _COUNT, "finished": _TRUTH, "content_sha256": _SHA256,
  "checkpoints": _BY_STEP,
}  # fmt: skip
_EVERY_LAUNCH_HAS = ("started", "command", "devices")
_EVERY_END_HAS = ("ended", "wall_seconds", "iterations", "finished", "content_sha256")
"""Fields since the first version; others are newer, or depend on the run."""


def check_launch(launch: Any, where: str) -> None:
  """Check that an entry of manifest.json has the fields that every version writes, each of its type.

  Args:
    where: file and place of the entry, for the error.

  Raises:
    UserError: a field is missing, or is of another type.
  """
  _check(launch, where, _LAUNCH, _EVERY_LAUNCH_HAS)
  if "end" in launch:
    _check(launch["end"], f"{where}, end", _END, _EVERY_END_HAS)


def check_origin(fields: Mapping[str, Any], where: str) -> None:
  """Check those fields of a launch that a committed result has; null is what its launch did not have.

  Raises:
    UserError: a field is of another type.
  """
  _check({name: value for name, value in fields.items() if value is not None}, where, _LAUNCH, ())


def _check(fields: Any, where: str, kinds: Mapping[str, _Kind], required: Collection[str]) -> None:
  if not isinstance(fields, dict):
    raise UserError(f"{where} is no object: restore the file from a copy")
  for name in required:
    if name not in fields:
      raise UserError(f"{where} has no field {name!r}: restore the file from a copy")
  for name, kind in kinds.items():
    if name in fields and not kind.fits(fields[name]):
      raise UserError(f"{where}, {name!r}: want {kind.name}, got {fields[name]!r:.60}: restore the file from a copy")
