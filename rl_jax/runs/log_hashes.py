"""Sizes and hashes of a run's log, stored in each checkpoint for the lines up to its step and at the end of a launch.

{"metrics.jsonl": [bytes, "<SHA-256>"], "samples.jsonl": …, "timings.jsonl": …}. The log only grows, and a resume cuts
it back to its state at the checkpoint. So, while a checkpoint is usable, each file begins with the bytes hashed here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.directory import RunDirectory

Hashes = Mapping[str, Sequence[Any]]
"""Size and SHA-256 by file name."""
_AT_A_TIME = 1 << 20


class LogHashes:
  """Hashes of the log of one launch. Each byte is read only once, so later edits are noticed."""

  def __init__(self, directory: RunDirectory) -> None:
    self._files = [_GrowingFile(path) for path in directory.log]

  def now(self) -> dict[str, list[Any]]:
    """Current size and SHA-256 of every file.

    Raises:
      UserError: a file has become shorter, or cannot be read.
    """
    return {file.path.name: file.now() for file in self._files}


def well_formed(directory: RunDirectory, hashes: Any) -> bool:
  """Return whether `hashes` has a size and a hash for every file of the log."""
  if not isinstance(hashes, dict):
    return False
  entries = [hashes.get(path.name) for path in directory.log]
  return all(isinstance(entry, list) and [type(part) for part in entry] == [int, str] for entry in entries)


def departure(directory: RunDirectory, hashes: Hashes, *, may_have_grown: bool = True) -> str:
  """Difference of the log from its state when the hashes were taken; "" if there is none.

  Args:
    may_have_grown: True if lines may have been added since.

  Raises:
    UserError: a file cannot be read.
  """
  for path in directory.log:
    size, digest = hashes.get(path.name, [0, None])
    sha256, length = hashlib.sha256(), 0
    for part in _parts(path, 0, size):
      sha256.update(part)
      length += len(part)
    if length < size:
      return f"{path.name} is cut: {length} of its {size} bytes are left" if length else f"{path.name} is missing"
    if digest is not None and sha256.hexdigest() != digest:
      return f"{path.name} has changed within its first {size} bytes"
    if not may_have_grown and (grown := size_of(path) - size):
      return f"{path.name} has grown by {grown} bytes"
  return ""


def size_of(path: Path) -> int:
  """Bytes of a file of the log; 0 if it is missing."""
  return path.stat().st_size if path.exists() else 0


class _GrowingFile:
  def __init__(self, path: Path) -> None:
    self.path = path
    self._size, self._sha256 = 0, hashlib.sha256()

  def now(self) -> list[Any]:
    size = size_of(self.path)
    if size < self._size:
      raise UserError(
        f"{self.path} was removed or cut under this run ({size} of its {self._size} bytes are left): restore it from a "
        "copy; the same command resumes from the newest checkpoint that it fits"
      )
    for part in _parts(self.path, self._size, size - self._size):
      self._sha256.update(part)
      self._size += len(part)
    return [self._size, self._sha256.hexdigest()]


def _parts(path: Path, start: int, size: int):
  """Bytes of a part of a file, as far as they exist."""
  if not path.exists():
    return
  try:
    with path.open("rb") as file:
      file.seek(start)
      while size > 0 and (part := file.read(min(size, _AT_A_TIME))):
        size -= len(part)
        yield part
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror or error}") from error
