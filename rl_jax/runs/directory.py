"""Folder of a run: paths of its files, and the identity of the run.

runs/<name>/
  identity.json    {"format", "identity", "fields"}: which run this is; its presence makes the folder a run
  config.json      resolved config of the latest launch that trained
  method.py        source of the method of the latest launch that trained
  manifest.json    one entry per launch (manifest.py), with hashes of the three above (file_hashes.py)
  metrics.jsonl    bit-identical between a straight run and a resumed one (metrics.py)
  timings.jsonl    seconds, tokens per second, wall clock: different in every run
  samples.jsonl    decoded samples (samples.py)
                   (checkpoints and launches record hashes of these three: log_hashes.py)
  tensorboard/  trackers/  checkpoints/  profile/  report.png  report.html
  traceback.txt    of the last launch that ended in an error of a user's code; may exist before the run does
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs.differences import differing, shortened
from rl_jax.runs.files import check_regular, plain, read_json, temporary_path, write_json, writing
from rl_jax.runs.lock import Lock
from rl_jax.runs.manifest import read_launches

FORMAT = 1
"""Version of the layout above. Runs of another version are refused."""

TRACEBACK = "traceback.txt"
"""Name of the file with the traceback of an error in a user's code."""

_SHOWN_FIELDS = 3
_IS_KEPT = "the run keeps {}: move it away, or choose another --workdir"


class RunDirectory:
  """Paths of a run. A writer gets one from `open_run` (and holds the lock), a reader from `find_run`."""

  def __init__(self, path: Path, *, continued: bool = True, lock: Lock | None = None) -> None:
    self.path = path
    self.continued = continued
    """True if the folder held this run before."""
    self._lock = lock
    self.identity = path / "identity.json"
    self.config = path / "config.json"
    self.manifest = path / "manifest.json"
    self.metrics = path / "metrics.jsonl"
    self.timings = path / "timings.jsonl"
    self.samples = path / "samples.jsonl"
    self.method = path / "method.py"
    self.tensorboard = path / "tensorboard"
    self.trackers = path / "trackers"
    self.checkpoints = path / "checkpoints"
    self.report_png = path / "report.png"
    self.report_html = path / "report.html"
    self.profile = path / "profile"
    self.traceback = path / TRACEBACK

  @property
  def begun(self) -> bool:
    """True if a next launch could resume from an iteration or a checkpoint in the folder."""
    if self.checkpoints.is_dir() and any(self.checkpoints.iterdir()):
      return True
    return self.metrics.exists() and b'"train"' in self.metrics.read_bytes()

  @property
  def log(self) -> tuple[Path, Path, Path]:
    """Files that grow line by line."""
    return self.metrics, self.samples, self.timings

  def check_kinds(self) -> None:
    """Raise UserError for a folder in place of a file, or the reverse. Most would otherwise be found only after
    training, when they are written."""
    for file in (*self.record, self.report_png, self.report_html, self.traceback):
      if file.exists() and not file.is_file():
        raise UserError(f"{file} is {'a folder' if file.is_dir() else 'not a file'}, where {_IS_KEPT.format('a file')}")
    for folder in (self.tensorboard, self.trackers, self.checkpoints, self.profile):
      if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder, where {_IS_KEPT.format('one')}")

  @property
  def record(self) -> tuple[Path, ...]:
    """Files of the run's identity and record."""
    return self.manifest, *self.log, self.method, self.config, self.identity

  def check_regular(self) -> None:
    """Raise UserError if a file of the record is a pipe or device, which a reader would block on."""
    for file in self.record:
      check_regular(file)

  def check_in_place(self) -> None:
    """Raise UserError unless the folder at `path` is still the one that `open_run` locked. Files written to another
    folder would be lost, or disturb another run."""
    if self._lock is None or (self._lock.in_place() and self.identity.exists()):
      return
    moved, lost = self._lock.moved_to(), "what came after its last checkpoint is lost"
    if moved is not None and not self._lock.in_place():
      change, advice = f"was moved to {moved}", f"{lost}; move it back, or go on there (--workdir)"
    elif self.identity.exists():
      change, advice = "has lost its .lock, or was replaced,", f"{lost}; run the same command again"
    else:
      lost = "its record and its checkpoints are lost"
      change, advice = "was removed or emptied", f"{lost}; the same command starts it anew, once the place is empty"
    raise UserError(f"{self.path} {change} under this run: {advice}")

  def write_identity(self, identity: str, fields: dict[str, Any]) -> None:
    """Write the identity of the run that the folder holds."""
    write_json(self.identity, {"format": FORMAT, "identity": identity, "fields": fields})

  def leave(self) -> None:
    """Remove the files and the lock of a run before its first iteration, so that the folder is free for another run.
    Do nothing if the folder is no longer ours."""
    if self._lock is not None and self._lock.in_place():
      self._clear()
      self._lock.remove()

  def _clear(self) -> None:
    for file in self.record:
      file.unlink(missing_ok=True)
    for folder in (self.tensorboard, self.trackers):
      shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):  # it does not exist
      self.checkpoints.rmdir()

  def close(self) -> None:
    """Let another process write the run. Harmless when called again."""
    if self._lock is not None:
      self._lock.release()

  def __enter__(self) -> RunDirectory:
    return self

  def __exit__(self, *_: object) -> None:
    self.close()

  def __repr__(self) -> str:
    return f"RunDirectory({str(self.path)!r})"


def open_run(
  workdir: str | os.PathLike[str],
  config: dict[str, Any],
  identity: str,
  identity_fields: dict[str, Any],
  wait: Callable[[str], bool] = lambda holder: False,
) -> RunDirectory:
  """Create the run in `workdir`, or open an existing run of the same identity, and lock it.

  Args:
    workdir: the folder; it and its parents are made.
    config: the resolved config, written to config.json of a new run. A launch that trains a run further writes its own,
      as fields outside the identity, such as the logging cadence, may have changed.
    identity: hash of the config without logging fields. Two launches of one identity are one run.
    identity_fields: fields that the hash covers, as a dict (nested or flat), to say how two runs differ.
    wait: decides whether to wait for another process that writes the run, see `Lock`.

  Raises:
    UserError: the folder holds another run that has begun, or files that are not a run; another process writes it; or
      it cannot be written.
  """
  path = Path(workdir)
  fields = plain(identity_fields)
  with writing(path):
    if path.exists() and not path.is_dir():
      raise UserError(f"{path} is a file, not a folder: choose another --workdir")
    path.mkdir(parents=True, exist_ok=True)
    _check_holder(path, identity, fields)  # before the lock: a folder that is not ours is left unchanged
    RunDirectory(path).check_kinds()
  lock = Lock(path / ".lock", wait)
  try:
    continued = _check_holder(path, identity, fields)
    directory = RunDirectory(path, continued=continued, lock=lock)
    if not continued:
      directory._clear()  # leftovers of another run, killed before its first iteration
      # First, so that a kill right after it leaves a run that can be resumed.
      directory.write_identity(identity, fields)
    directory.traceback.unlink(missing_ok=True)  # of an earlier launch
    if not directory.config.exists():
      write_json(directory.config, config)
    return directory
  except BaseException:
    if (path / "identity.json").exists():
      lock.release()
    else:
      lock.remove()  # the folder is not this run's
    raise


def find_run(workdir: str | os.PathLike[str]) -> RunDirectory:
  """The run in `workdir`, for reading, without a lock: the run may still be training.

  Raises:
    UserError: if the folder is missing or holds no run, or a file of its record is a pipe or a device.
  """
  path = Path(workdir)
  if not os.path.isdir(path):  # False, and no error, for any text
    raise UserError(f"{path} {'is a file' if os.path.exists(path) else 'does not exist'}: give the --workdir of a run")
  directory = RunDirectory(path)
  if not directory.identity.exists():
    raise UserError(f"{path} holds no run (identity.json is missing): give the --workdir of a run")
  directory.check_regular()
  return directory


def read_identity(directory: RunDirectory) -> str:
  """Hash of the identity of the run in a folder.

  Raises:
    UserError: identity.json is missing or damaged.
  """
  content = read_json(directory.identity)
  identity = content.get("identity") if isinstance(content, dict) else None
  if not isinstance(identity, str):
    raise UserError(f'{directory.identity} names no run (its "identity" is not text): restore it from a copy')
  return identity


def _check_holder(path: Path, identity: str, fields: dict[str, Any]) -> bool:
  """Return True if `path` holds this run, False if it is empty or holds another run before its first iteration."""
  RunDirectory(path).check_regular()
  file = path / "identity.json"
  if not file.exists():
    other_files = _other_files(path)
    if other_files:
      more = f" and {len(other_files) - 1} more" if len(other_files) > 1 else ""
      raise UserError(f"{path} is not empty and holds no run ({other_files[0]}{more}): choose another --workdir")
    return False
  recorded = read_json(file)
  if not isinstance(recorded, dict) or recorded.get("format") != FORMAT:
    version = recorded.get("format") if isinstance(recorded, dict) else None
    raise UserError(f"{path} holds a run of format {version}, this version reads {FORMAT}: choose another --workdir")
  if recorded.get("identity") != identity:
    if not RunDirectory(path).begun:
      return False
    launches = read_launches(path / "manifest.json", missing_ok=True)
    if launches and launches[-1].get("identity") == identity:
      raise UserError(f"{path}: identity.json was edited since launch {len(launches)}: restore it from a copy")
    identities = f"identity {recorded.get('identity')} there, {identity} here"
    recorded_fields = recorded.get("fields")
    differences = (_differences(recorded_fields, fields) if isinstance(recorded_fields, dict) else "") or identities
    raise UserError(f"{path} holds another run ({differences}): choose another --workdir, or remove that folder")
  return True


def is_run_or_free(workdir: Path) -> bool:
  """Return whether a folder holds a run, or only files of a run, or does not exist yet."""
  if not workdir.exists():
    return True
  return workdir.is_dir() and ((workdir / "identity.json").exists() or not _other_files(workdir))


def _other_files(path: Path) -> list[str]:
  """Names in a folder other than leftovers of a run before its first iteration."""
  names = ["identity.json", "config.json"]
  own_files = {".lock", TRACEBACK, *(temporary_path(path / name).name for name in names)}
  return sorted(entry.name for entry in path.iterdir() if entry.name not in own_files)


def _differences(recorded: dict[str, Any], current: dict[str, Any]) -> str:
  fields = differing([current, recorded])
  differences = [
    f"{name}: {shortened(there)} there, {shortened(here)} here"
    for name, (here, there) in list(fields.items())[:_SHOWN_FIELDS]
  ]
  if len(fields) > _SHOWN_FIELDS:
    differences.append(f"and {len(fields) - _SHOWN_FIELDS} more")
  return "; ".join(differences)
