"""Atomic writes: a kill, a crash or a full disk leaves the old content or the new, never a mixture."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
  """Context that turns an `OSError` (full disk, no permission, read-only system) into a one-line error.

  Raises:
    UserError: with the path and the system's reason.
  """
  try:
    yield
  except OSError as error:
    reason = error.strerror or str(error)
    raise UserError(f"cannot write {path}: {reason}: fix that and run the same command again") from error


def temporary_path(path: Path) -> Path:
  """File in which `write_atomically` builds the content of `path`: `.<name>.tmp` beside it."""
  return path.with_name(f".{path.name}.tmp")


def write_atomically(path: Path, content: bytes) -> None:
  """Replace `path` by `content`: temporary file, fsync, rename, fsync of the folder.

  The run's lock ensures a single writer. On failure the old file remains and no temporary file is left.

  Raises:
    UserError: if the file cannot be written.
  """
  temporary = temporary_path(path)
  with writing(path):
    try:
      with open(temporary, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
      os.replace(temporary, path)
    except BaseException:
      temporary.unlink(missing_ok=True)
      raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
      os.fsync(folder)
    finally:
      os.close(folder)


def plain(value: Any) -> Any:
  """`value` in JSON types: dicts with string keys, lists, str, int, float, bool, None; anything else by `str`.

  Tuples and arrays become lists; NaN and infinities become the strings "NaN", "Infinity", "-Infinity", so that a
  strict JSON parser reads what is written and can tell them apart.
  """
  if isinstance(value, dict):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, (list, tuple)):
    return [plain(item) for item in value]
  if isinstance(value, (set, frozenset)):
    return sorted((plain(item) for item in value), key=repr)
  if value is None or isinstance(value, (bool, int, str)):
    return value
  if isinstance(value, float):
    return encode_float(float(value))
  if hasattr(value, "tolist"):  # numpy and jax scalars and arrays
    return plain(value.tolist())
  return str(value)


def encode_float(value: float) -> float | str:
  """A float as written in our JSON: itself, or "NaN", "Infinity", "-Infinity"."""
  if value != value:
    return "NaN"
  if value in (float("inf"), float("-inf")):
    return "Infinity" if value > 0 else "-Infinity"
  return value


def decode_number(value: Any) -> Any:
  """The inverse of `encode_float`; any other value is returned as it is."""
  if isinstance(value, str) and value in ("NaN", "Infinity", "-Infinity"):
    return float(value)
  return value


def write_json(path: Path, value: Any) -> None:
  """Write `plain(value)` as indented strict JSON, atomically. Key order is kept."""
  write_atomically(path, (json.dumps(plain(value), indent=2, allow_nan=False) + "\n").encode())


def check_regular(path: Path) -> None:
  """Check that a file is regular: reading a pipe or device may never end. Folders fail when they are read.

  Raises:
    UserError: the file is a pipe, a device or a socket.
  """
  try:
    mode = path.stat().st_mode
  except OSError:  # missing, or the reader reports the error
    return
  if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
    raise UserError(f"{path} is not a regular file but a pipe, device or socket: restore it from a copy, or remove it")


def read_json(path: Path) -> Any:
  """The content of a JSON file.

  Raises:
    UserError: if the file is missing, unreadable or not JSON.
  """
  check_regular(path)
  try:
    return json.loads(path.read_bytes())
  except FileNotFoundError:
    raise UserError(f"{path} is missing") from None
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror or error}") from error
  except ValueError as error:
    raise UserError(f"{path} is not JSON ({error}): restore it from a copy, or remove it") from error
  except RecursionError:
    raise UserError(f"{path} is not JSON (nested too deeply): restore it from a copy, or remove it") from None
