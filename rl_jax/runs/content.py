"""Content hash that identifies a run, over files that are bit-identical in an uninterrupted and a resumed run."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rl_jax.errors import UserError
from rl_jax.runs import json_lines
from rl_jax.runs.directory import RunDirectory, read_identity

SHORT = 12
"""Number of hex digits shown to users."""


def content_sha256(directory: RunDirectory, until: int | None = None) -> str:
  """SHA-256 over three lines: the run's identity, and the SHA-256 of metrics.jsonl and of samples.jsonl.

  Timings, checkpoints and the manifest are not part of it. A missing file counts as empty.

  Args:
    until: iteration up to which the files are read; None: all of them.

  Raises:
    UserError: identity.json is damaged, or a file cannot be read.
  """
  identity = read_identity(directory)
  lines = [identity, *(_file_sha256(path, until) for path in (directory.metrics, directory.samples))]
  return hashlib.sha256("".join(f"{line}\n" for line in lines).encode(errors="surrogatepass")).hexdigest()


def _file_sha256(path: Path, until: int | None) -> str:
  if until is not None:
    return hashlib.sha256(json_lines.until(path, until)).hexdigest()
  try:
    with path.open("rb") as file:
      return hashlib.file_digest(file, "sha256").hexdigest()
  except FileNotFoundError:
    return hashlib.sha256().hexdigest()
  except OSError as error:
    raise UserError(f"cannot read {path}: {error.strerror or error}") from error
