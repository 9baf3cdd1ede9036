"""Hashes of the files that identify a run, as recorded by each of its launches.

{"identity.json": "<SHA-256>", "config.json": …, "method.py": …} is the field `files` of a launch. Only launches write
these files, so they must match the hashes of the latest launch. Launches of older versions record only method.py, in
the field `method_sha256`, which newer ones have too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.directory import RunDirectory


def file_hashes(directory: RunDirectory) -> dict[str, str]:
  """SHA-256 of each file, by name.

  Raises:
    UserError: a file is missing or cannot be read.
  """
  return {path.name: _sha256(path) for path in (directory.identity, directory.config, directory.method)}


def edited_files(directory: RunDirectory, launches: Sequence[Mapping[str, Any]]) -> list[str]:
  """One line for each file that was edited or removed since the latest launch.

  Raises:
    UserError: a file cannot be read.
  """
  latest = launches[-1] if launches else {}
  recorded = {name: {digest} for name, digest in latest.get("files", {}).items()}
  if "method_sha256" in latest:
    recorded.setdefault(directory.method.name, set()).add(latest["method_sha256"])
  lines = []
  for name, digests in recorded.items():
    path = directory.path / name
    if not path.exists():
      lines.append(f"{name} was removed since launch {len(launches)}")
    elif {_sha256(path)} != digests:
      lines.append(f"{name} was edited since launch {len(launches)}")
  return lines


def _sha256(path: Path) -> str:
  try:
    return hashlib.sha256(path.read_bytes()).hexdigest()
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror or error}") from error
