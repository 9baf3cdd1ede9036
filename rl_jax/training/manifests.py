"""Manifest of a checkpoint: its contents, and the SHA-256 of each of its files.

Orbax restores a flipped bit silently, so each file is hashed once it has been committed. Format of
`manifest.json`, one JSON object:

  {"body": {"format": 2, "step": 40, "metadata": {...}, "metrics": {...},
            "leaves": {"params/w": [[2, 3], "float32"]}, "files": {"state/d/ab12": "<sha256>"}},
   "sha256": "<of the canonical JSON of body>"}

A folder without a manifest is an unfinished checkpoint.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

FORMAT = 2
OLDER = {1: "rl_jax 0.1.0 up to November 2026"}
"""Older formats and the versions that wrote them. Their models can be read, but runs cannot resume from them."""
NAME = "manifest.json"
_KINDS = {"format": int, "step": int, "metadata": dict, "metrics": dict, "leaves": dict, "files": dict}
"""Types of the fields of a body."""


class Damage(Exception):
  """Error of a damaged checkpoint; the message names the file and the fault."""


def _canonical(body: dict[str, Any]) -> bytes:
  return json.dumps(body, sort_keys=True, separators=(",", ":")).encode()


def _sha256(file: Path) -> str:
  if file.exists() and not file.is_file():  # reading a pipe would never end
    raise OSError(errno.EINVAL, "it is no regular file")
  with file.open("rb") as stream:
    return hashlib.file_digest(stream, "sha256").hexdigest()


def _sync_folder(folder: Path) -> None:
  descriptor = os.open(folder, os.O_RDONLY)
  try:
    os.fsync(descriptor)
  finally:
    os.close(descriptor)


def steps(folder: Path) -> list[int]:
  """Steps of the checkpoints in a folder, finished or not, oldest first."""
  if not folder.is_dir():
    return []
  names = [path.name for path in folder.iterdir() if path.name.isdecimal() and path.is_dir()]
  return sorted(int(name) for name in names if name == str(int(name)))


def finished(folder: Path) -> list[int]:
  """Steps with a manifest, without a check of their checksums."""
  return [step for step in steps(folder) if is_finished(folder / str(step))]


def is_finished(checkpoint: Path) -> bool:
  """Return whether a checkpoint has its manifest, which is written last."""
  return (checkpoint / NAME).is_file()


def digest(folder: Path) -> str:
  """SHA-256 of the manifest, which identifies the checkpoint through the checksums in it."""
  return _sha256(folder / NAME)


def write(folder: Path, body: dict[str, Any]) -> None:
  """Hash every file below `folder` and write the manifest atomically, even across a power cut."""
  files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(NAME))
  body = {**body, "format": FORMAT, "files": {str(path.relative_to(folder)): _sha256(path) for path in files}}
  content = {"body": body, "sha256": hashlib.sha256(_canonical(body)).hexdigest()}
  draft = folder / f"{NAME}.tmp"
  with draft.open("w") as stream:
    stream.write(json.dumps(content, sort_keys=True))
    stream.flush()
    os.fsync(stream.fileno())
  draft.replace(folder / NAME)
  _sync_folder(folder)


def read(folder: Path) -> dict[str, Any]:
  """Body of the manifest, after a check of its own checksum and folder name; raises Damage."""
  try:
    content = json.loads((folder / NAME).read_text())
    body, digest = content["body"], content["sha256"]
    typed = all(isinstance(body[name], kind) for name, kind in _KINDS.items())
    intact = hashlib.sha256(_canonical(body)).hexdigest() == digest
  except OSError as error:
    raise Damage(f"{NAME} cannot be read: {error.strerror}") from error
  except (ValueError, KeyError, TypeError, RecursionError) as error:
    raise Damage(f"{NAME} is not a manifest") from error
  if not intact:
    raise Damage(f"{NAME} checksum differs")
  if not typed:
    raise Damage(f"{NAME} is not a manifest")
  if body["format"] not in (FORMAT, *OLDER):
    raise Damage(f"format {body['format']}, this version reads format {FORMAT}")
  if folder.name != str(body["step"]):
    raise Damage(f"it is checkpoint {body['step']} under another name")
  return body


def names(folder: Path) -> list[str]:
  """Checkpoints in a folder, newest first, preceded by those whose folder was renamed to something other than a
  step."""
  by_step = [str(step) for step in reversed(steps(folder))]
  others = {path.name for path in folder.iterdir()} - set(by_step) if folder.is_dir() else set()
  return [*sorted(name for name in others if is_finished(folder / name)), *by_step]


def intact(checkpoint: Path) -> dict[str, Any]:
  """Body of the manifest of a checkpoint, after a check of all checksums; raises Damage."""
  if not is_finished(checkpoint):
    raise Damage("is incomplete (no manifest.json: the save was cut off)")
  try:
    body = read(checkpoint)
    verify(checkpoint, body)
  except Damage as damage:
    raise Damage(f"is damaged ({damage})") from damage
  return body


def faults(folder: Path) -> dict[str, str]:
  """Faults of finished checkpoints by folder name, after a check of every file's checksum."""
  found = {}
  for name in names(folder):
    try:
      intact(folder / name)
    except Damage as damage:
      if is_finished(folder / name):  # not removed meanwhile by the run, which may still be training
        found[name] = str(damage)
  return found


def metadata(folder: Path) -> dict[int, dict[str, Any]]:
  """Metadata of finished checkpoints by step; only the manifests' own checksums are verified."""
  found = {}
  for step in finished(folder):
    with contextlib.suppress(Damage):
      found[step] = read(folder / str(step))["metadata"]
  return found


def obstacles(folder: Path, after: int) -> list[Path]:
  """Files that block the folder of a checkpoint after a step; a save cannot remove them."""
  if not folder.is_dir():
    return [folder] if os.path.lexists(folder) else []
  places = sorted(path for path in folder.iterdir() if path.name.isdecimal() and path.name == str(int(path.name)))
  return [path for path in places if int(path.name) > after and (path.is_symlink() or not path.is_dir())]


def strays(folder: Path) -> list[str]:
  """Files and folders that do not belong to a finished checkpoint, one line each."""
  if not folder.is_dir():
    return []
  unfinished = sorted(path.name for path in folder.iterdir() if not is_finished(path))
  lines = [f"{folder.name}/{name} is no finished checkpoint" for name in unfinished]
  for step in finished(folder):
    with contextlib.suppress(Damage):
      known = {NAME, *read(folder / str(step))["files"]}
      files = (path for path in (folder / str(step)).rglob("*") if path.is_symlink() or not path.is_dir())
      others = sorted(str(path.relative_to(folder / str(step))) for path in files)
      lines += [f"checkpoint {step} was saved without its {name}" for name in others if name not in known]
  return lines


def verify(folder: Path, body: dict[str, Any]) -> None:
  """Compare every file with its checksum; raise Damage for the first that is missing or differs."""
  for name, digest in body["files"].items():
    try:
      same = _sha256(folder / name) == digest
    except OSError as error:
      raise Damage(f"{name} cannot be read: {error.strerror}") from error
    if not same:
      raise Damage(f"{name} checksum differs")
