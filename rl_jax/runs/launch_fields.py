"""Fields of a launch in manifest.json and their types; damaged entries give a one-line error with the field."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rl_jax.runs.fields import (
  ANYTHING,
  COUNT,
  NUMBER,
  SHA256,
  TEXT,
  TRUTH,
  Kind,
  by_name,
  check_fields,
  list_of,
  or_null,
)

_SIZE_AND_HASH = Kind(
  "[bytes, SHA-256]",
  lambda value: isinstance(value, list) and len(value) == 2 and COUNT.fits(value[0]) and SHA256.fits(value[1]),
)
_BY_STEP = Kind(
  "a SHA-256 by step",
  lambda value: by_name(SHA256).fits(value) and all(step.isdecimal() and step == str(int(step)) for step in value),
)
_START = Kind("[folder, SHA-256]", lambda value: list_of(TEXT).fits(value) and len(value) == 2)

_LAUNCH = {
  "started": TEXT, "command": list_of(TEXT), "devices": TEXT, "flags": by_name(TEXT),
  "packages": by_name(TEXT), "python": TEXT, "platform": TEXT, "cpu_model": TEXT,
  "cpu_features_sha256": or_null(SHA256), "cpu_threads": or_null(COUNT), "cpu_threads_allowed": or_null(COUNT),
  "git_commit": or_null(TEXT), "git_clean": or_null(TRUTH), "uncommitted_sha256": or_null(TEXT),
  "identity": TEXT, "method_sha256": SHA256, "papers": list_of(TEXT), "data_fingerprint": TEXT,
  "guessing_floor": or_null(NUMBER), "parameters": by_name(COUNT), "settings": by_name(ANYTHING),
  "processes": COUNT, "resumed_from": COUNT, "started_from": TEXT, "start_sha256": TEXT,
  "models_started_from": by_name(_START), "files": by_name(SHA256), "end": by_name(ANYTHING),
}  # fmt: skip
_END = {
  "ended": TEXT, "wall_seconds": NUMBER, "iterations": COUNT, "finished": TRUTH, "content_sha256": SHA256,
  "checkpoints": _BY_STEP, "log": by_name(_SIZE_AND_HASH),
}  # fmt: skip
_EVERY_LAUNCH_HAS = ("started", "command", "devices")
_EVERY_END_HAS = ("ended", "wall_seconds", "iterations", "finished", "content_sha256")
"""Fields present since the first version; others are newer, or depend on the run."""


def check_launch(launch: Any, where: str) -> None:
  """Check that an entry of manifest.json has the fields that every version writes, with their types.

  Args:
    where: file and place of the entry, for the error.

  Raises:
    UserError: a field is missing, or is of another type.
  """
  check_fields(launch, where, _LAUNCH, _EVERY_LAUNCH_HAS)
  if "end" in launch:
    check_fields(launch["end"], f"{where}, end", _END, _EVERY_END_HAS)


def check_origin(fields: Mapping[str, Any], where: str) -> None:
  """Check the launch fields in a committed result; null marks a field that its launch lacked.

  Raises:
    UserError: a field is of another type.
  """
  check_fields({name: value for name, value in fields.items() if value is not None}, where, _LAUNCH, ())
