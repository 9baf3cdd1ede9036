"""Append-only files with one JSON object per line, each with an integer "iteration".

Files are not held open between calls: a line has reached the operating system when `append` returns, and a rewrite by
`cut_after` cannot leave a writer with the old file.
"""

from __future__ import annotations

import itertools
import json
import os
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.files import write_atomically, writing

_MOST_ITERATIONS = 1 << 63
"""Bound on iterations, as they are stored in int64 arrays."""


def append(path: Path, records: list[dict[str, Any]]) -> None:
  """Append one line per record: either all of them or none.

  Floats are written by `repr`, the shortest text that reads back as the same 64 bits. An unfinished last line, left by
  a kill, is dropped first.

  Raises:
    UserError: if the disk is full or the file cannot be written.
    ValueError: if a record holds NaN or an infinity (encode them with `files.encode_float`).
  """
  data = "".join(json.dumps(record, allow_nan=False) + "\n" for record in records).encode()
  with writing(path):
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    try:
      end = os.fstat(file).st_size
      if end and os.pread(file, 1, end - 1) != b"\n":
        end = _mend_tail(file, path)
      try:
        _write_all(file, data)
      except OSError:
        os.ftruncate(file, end)  # a full disk must not leave half a line
        raise
    finally:
      os.close(file)


def sync(path: Path) -> None:
  """Flush the file to disk; do nothing if there is no file yet."""
  if not path.exists():
    return
  with writing(path):
    file = os.open(path, os.O_RDWR)
    try:
      os.fsync(file)
    finally:
      os.close(file)


def read(path: Path) -> list[dict[str, Any]]:
  """Records in file order; empty without a file. An unfinished last line is left out.

  Raises:
    UserError: if a complete line is not a record.
  """
  lines = _lines(path)
  records = [_record(line) for line in lines]
  if records and records[-1] is None and not lines[-1].endswith(b"\n"):
    records.pop()
  good = [record for record in records if record is not None]
  if len(good) < len(records):
    raise UserError(_damaged(path, records.index(None)))
  return good


def until(path: Path, iteration: int) -> bytes:
  """Content of the file up to the first record of a later iteration."""
  lines = _lines(path)
  records = [_record(line) for line in lines]
  later = [i for i, record in enumerate(records) if record is not None and record["iteration"] > iteration]
  return b"".join(lines[: later[0]] if later else lines)


def iteration_at(path: Path, size: int) -> int | None:
  """Iteration of the record that ends at byte `size`; None if no record ends there."""
  lines = _lines(path)
  by_end = dict(zip(itertools.accumulate(map(len, lines)), lines, strict=True))
  record = _record(by_end[size]) if size in by_end else None
  return record["iteration"] if record else None


def cut_after(path: Path, iteration: int, size: int | None = None) -> str | None:
  """Drop the records after `iteration`, and an unfinished end, by one atomic rewrite. Kept lines keep their bytes.

  Args:
    size: number of bytes covered by a checkpoint; all later bytes are dropped too.

  Returns:
    A line that says what was dropped, or None.

  Raises:
    UserError: if a damaged line precedes a line to be kept.
  """
  lines = _lines(path)
  records = [_record(line) for line in lines]
  starts = itertools.accumulate(map(len, lines), initial=0)
  vouched = [size is None or start < size for start in starts]
  is_kept = lambda i, record: record is not None and record["iteration"] <= iteration and vouched[i]
  kept_indices = [i for i, record in enumerate(records) if is_kept(i, record)]
  damaged = [i for i, record in enumerate(records) if record is None]
  if damaged and kept_indices and damaged[0] < kept_indices[-1]:
    raise UserError(_damaged(path, damaged[0]))
  content = b"".join(lines[i].rstrip(b"\r\n") + b"\n" for i in kept_indices)
  if content == b"".join(lines):
    return None
  write_atomically(path, content)
  later = sum(record is not None and record["iteration"] > iteration for record in records)
  unvouched = len(lines) - len(kept_indices) - len(damaged) - later
  parts = [f"{_counted(later)} after iteration {iteration}"] if later else []
  parts += [f"{_counted(unvouched)} that nothing vouches for"] if unvouched else []
  parts += [_counted(len(damaged), "unfinished line")] if damaged else []
  return f"{path.name}: dropped {' and '.join(parts)}" if parts else None


def _counted(number: int, noun: str = "line") -> str:
  return f"{number} {noun}{'s' * (number != 1)}"


def _lines(path: Path) -> list[bytes]:
  try:
    return path.read_bytes().splitlines(keepends=True)
  except FileNotFoundError:
    return []
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror or error}") from error


def _record(line: bytes) -> dict[str, Any] | None:
  """Record of a line, or None. A cut line never parses, since its object has no end."""
  try:
    record = json.loads(line)
  except (ValueError, RecursionError):
    return None
  iteration = record.get("iteration") if isinstance(record, dict) else None
  return record if type(iteration) is int and 0 <= iteration < _MOST_ITERATIONS else None


def _damaged(path: Path, index: int) -> str:
  return f"{path}, line {index + 1} is not a JSON object with an iteration: restore the file, or remove that line"


def _mend_tail(file: int, path: Path) -> int:
  """Terminate the last line if its record is complete, else remove it; return the new size."""
  last = _lines(path)[-1]
  if _record(last) is not None:
    _write_all(file, b"\n")
  else:
    os.ftruncate(file, os.fstat(file).st_size - len(last))
  return os.fstat(file).st_size


def _write_all(file: int, data: bytes) -> None:
  while data:
    data = data[os.write(file, data) :]
