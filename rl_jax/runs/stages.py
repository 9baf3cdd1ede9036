"""Stages of a run: the runs that its models started from, the runs that those started from, and so on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rl_jax.errors import UserError
from rl_jax.runs.content import SHORT
from rl_jax.runs.directory import RunDirectory, find_run
from rl_jax.runs.launch_history import Launches
from rl_jax.runs.manifest import read_launches

FOLDER = "stages"
"""Name of the folder of stages, beside the runs that they belong to."""


class Start(NamedTuple):
  """Start of one model of a run."""

  role: str
  origin: str
  """Folder of a run as its launch knew it, or the name of a pretrained checkpoint."""
  sha256: str
  """SHA-256 of the manifest of its checkpoint."""

  @property
  def text(self) -> str:
    """The start in words: "teacher from teacher_start-0a1b2c (checkpoint 0123456789ab)"."""
    return f"{self.role} from {Path(self.origin).name} (checkpoint {self.sha256[:SHORT]})"


class Stage(NamedTuple):
  """A run that others started from. `directory` is None if its folder is gone or no longer holds that run."""

  name: str
  directory: RunDirectory | None


def starts(launches: Launches) -> list[Start]:
  """The starts of a run's models, the policy's first; none if all models were randomly initialised."""
  found: list[Start] = []
  for launch in launches:  # a launch that failed before its first checkpoint is started again by the next launch
    policy = [Start("policy", launch["started_from"], launch["start_sha256"])] if "started_from" in launch else []
    others = launch.get("models_started_from", {})
    found = [*policy, *(Start(role, *others[role]) for role in sorted(others))] or found
  return found


def stages(directory: RunDirectory) -> list[Stage]:
  """The runs that a run comes from, without itself, each once, in an order in which they can be trained."""
  return [Stage(name, found) for name, found in dict(_before(directory, set())).items()]


def _before(directory: RunDirectory, seen: set[str]) -> Iterator[tuple[str, RunDirectory | None]]:
  for start in starts(read_launches(directory.manifest, missing_ok=True)):
    name = Path(start.origin).name
    if name in seen:
      continue
    seen.add(name)
    found = _found(start, directory)
    if found is not None:
      yield from _before(found, seen)
    if found is not None or Path(start.origin).parent.name == FOLDER:  # otherwise it is a pretrained checkpoint
      yield name, found


def _found(start: Start, run: RunDirectory) -> RunDirectory | None:
  """The run of a start: in its folder, or beside a run that was moved; None if neither has the checkpoint."""
  parent = run.path.resolve().parent
  beside = parent if parent.name == FOLDER else parent / FOLDER
  for folder in (Path(start.origin), beside / Path(start.origin).name):
    try:
      found = find_run(folder)
      launches = read_launches(found.manifest, missing_ok=True)
    except UserError:
      continue
    digests = [digest for launch in launches for digest in _checkpoints(launch)]
    if start.sha256 in digests or not digests:  # older records have no digests
      return found
  return None


def _checkpoints(launch: dict[str, Any]) -> list[str]:
  """Hashes of the checkpoints that a launch left."""
  return list(launch.get("end", {}).get("checkpoints", {}).values())
