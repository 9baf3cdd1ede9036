"""Checks of a run's files against the hashes in its checkpoints and launches."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rl_jax.errors import UserError
from rl_jax.launching.commands import say_error
from rl_jax.runs import json_lines, log_hashes
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import RunDirectory, read_identity
from rl_jax.runs.file_hashes import edited_files
from rl_jax.runs.files import read_json
from rl_jax.runs.launch_history import Launches, contradictions, last_iteration, lost_launches, misjudged_end
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics, read_timings
from rl_jax.runs.stages import stages
from rl_jax.training import manifests

LOG = "log"
"""Key of the log's hashes in the metadata of a checkpoint and at the end of a launch; older records lack it."""


def checkpoint_fault(directory: RunDirectory, identity: str, step: int, metadata: Mapping[str, Any]) -> str:
  """Reason why a run cannot resume from a checkpoint with this metadata, or "". It may belong to another run, differ
  from the one that was saved, or not match the log up to its step.

  A checkpoint without hashes of the log is compared with the end of the last launch, where that has one.
  """
  if metadata.get("identity", identity) != identity:
    return "is of another run"
  launches = read_launches(directory.manifest, missing_ok=True)
  if step in _replaced_checkpoints(directory, launches):
    return "is not the one that its launch left"
  if LOG in metadata:
    departure = _departure(directory, step, metadata[LOG])
    return f"does not fit the log ({departure})" if departure else ""
  changed = _changed_since(directory, launches[-1]["end"], None) if launches and "end" in launches[-1] else ""
  return f"does not fit: {changed}" if changed else ""


class Vouched(NamedTuple):
  """Result of checking a run's files."""

  faults: list[str]
  until: float
  """Last iteration whose lines are covered by a hash; -1 for none, infinity for all."""
  is_open: bool
  """True if the log has later lines."""
  notes: list[str]
  """Notes that are not faults but may surprise a reader."""

  @property
  def doubt(self) -> str:
    """Description of the lines that no hash covers; "" if there are none."""
    if not self.is_open:
      return ""
    if self.until < 0:
      return "nothing vouches for its log (its last launch goes on, or was killed before its first checkpoint)"
    return (
      f"its log is vouched for up to iteration {self.until:.0f} by a checkpoint, and by nothing after that (its last "
      "launch goes on, or was killed)"
    )


def check(directory: RunDirectory, launches: Launches) -> Vouched:
  """Compare the files of a run with the hashes in its checkpoints and launches."""
  return _check(directory, launches, manifests.faults(directory.checkpoints))


def record_faults(directory: RunDirectory) -> list[str]:
  """Faults of what a run publishes: of its log, manifest and files, and not of the states in its checkpoints, which may
  be large."""
  return _check(directory, read_launches(directory.manifest, missing_ok=True), {}).faults


def _check(directory: RunDirectory, launches: Launches, damaged: Mapping[str, str]) -> Vouched:
  """Args: damaged: faults of checkpoints by name."""
  replaced = _replaced_checkpoints(directory, launches)
  metadata = manifests.metadata(directory.checkpoints)
  hashes = {step: body[LOG] for step, body in metadata.items() if LOG in body and step not in replaced}
  departures = {step: _departure(directory, step, hashes[step]) for step in hashes}
  lines = read_metrics(directory.metrics)
  faults = [
    *manifest_faults(directory, launches, last_iteration(lines)),
    *edited_files(directory, launches),
    *(f"checkpoint {name} {fault}" for name, fault in damaged.items()),
    *(f"checkpoint {step} is not the one that its launch left" for step in replaced if str(step) not in damaged),
    *(f"checkpoint {step} does not fit the log: {departure}" for step, departure in departures.items() if departure),
    *_changed_ends(directory, launches),
    *_repetition(directory.metrics, lines),
    *_repetition(directory.timings, read_timings(directory.timings)),
  ]
  notes = [*removed_checkpoints(directory, launches), *manifests.strays(directory.checkpoints)]
  newest = max((step for step, departure in departures.items() if not departure), default=None)
  sizes = {path: hashes[newest][path.name][0] if newest is not None else 0 for path in directory.log}
  is_longer = {path: log_hashes.size_of(path) > size for path, size in sizes.items()}
  end = launches[-1].get("end") if launches else None
  if not end:
    return Vouched(faults, -1 if newest is None else newest, any(is_longer.values()), notes)
  if LOG not in end and (newest is None or is_longer[directory.timings]):
    notes.append(f"nothing vouches for {directory.timings.name}{f' after iteration {newest}' if newest else ''}")
  return Vouched(faults, math.inf, False, notes)


def say_faults(command: str, directory: RunDirectory) -> list[str]:
  """Warn on stderr, a line each, of what is no longer as its launches left it in a run that a command publishes, and in
  its stages.

  Args:
    command: beginning of the lines, "rl_jax.cite".

  Returns: the faults.
  """
  said = []
  of_stages = [stage.directory for stage in stages(directory) if stage.directory is not None]
  for run in (directory, *of_stages):
    prefix = "" if run is directory else f"stage {run.path.name}: "
    for fault in record_faults(run):
      say_error(command, UserError(f"warning: {run.path}: {fault}"))
      said.append(prefix + fault)
  return said


def manifest_faults(directory: RunDirectory, launches: Launches, iterations: int) -> list[str]:
  """False statements in manifest.json, one line each.

  Args:
    iterations: number of iterations that the run has reached.
  """
  edited = [line.split()[0] for line in edited_files(directory, launches)]
  identity = None if directory.identity.name in edited else read_identity(directory)
  config: Any = {}
  with contextlib.suppress(UserError):  # readers of the config report its faults
    config = {} if directory.config.name in edited else read_json(directory.config)
  return [
    *lost_launches(launches, iterations),
    *contradictions(launches, identity),
    *(_miscounted_end(directory, launches) or misjudged_end(launches, config if isinstance(config, dict) else {})),
  ]


def _miscounted_end(directory: RunDirectory, launches: Launches) -> list[str]:
  """Line on a difference between the recorded end of the latest launch and its log, if there is one."""
  end = launches[-1].get("end") if launches else None
  if not end or _changed_since(directory, end, None):
    return []
  last = last_iteration(read_metrics(directory.metrics))
  if last == end["iterations"]:
    return []
  return [f"manifest.json, launch {len(launches)} ended at iteration {end['iterations']}, its log at {last}"]


def digests(folder: Path) -> dict[str, str]:
  """SHA-256 of the manifests of finished checkpoints by step, as recorded at the end of a launch."""
  return {str(step): manifests.digest(folder / str(step)) for step in manifests.finished(folder)}


def removed_checkpoints(directory: RunDirectory, launches: Launches) -> list[str]:
  """One line for each checkpoint that existed at the end of the latest launch and is gone."""
  steps = launches[-1].get("end", {}).get("checkpoints", {}) if launches else {}
  gone = [step for step in steps if not (directory.checkpoints / step).is_dir()]
  return [f"checkpoint {step} was removed since launch {len(launches)}" for step in gone]


def _replaced_checkpoints(directory: RunDirectory, launches: Launches) -> list[int]:
  """Steps of checkpoints that differ from those that a launch ended with. A later launch that resumed from before a
  checkpoint may have saved it again; such a checkpoint does not count."""
  left: dict[int, str] = {}
  for launch in launches:
    resumed = launch.get("resumed_from", 0)
    left = {step: digest for step, digest in left.items() if step <= resumed}
    left |= {int(step): digest for step, digest in launch.get("end", {}).get("checkpoints", {}).items()}
  folders = {step: directory.checkpoints / str(step) for step in left}
  return [step for step, folder in folders.items() if folder.is_dir() and _digest(folder) != left[step]]


def _digest(checkpoint: Path) -> str:
  try:
    return manifests.digest(checkpoint)
  except OSError:
    return ""


def _departure(directory: RunDirectory, step: int, hashes: Any) -> str:
  """Difference between the log and the hashes in the checkpoint of a step; "" if there is none."""
  if departure := _differs_from(directory, hashes):
    return departure
  # If the hashes covered less than was written up to the step, a resume would drop the rest as if it came later.
  last = json_lines.iteration_at(directory.metrics, hashes[directory.metrics.name][0])
  return "" if last == step else f"it vouches for {directory.metrics.name} up to iteration {last}"


def _changed_ends(directory: RunDirectory, launches: Launches) -> list[str]:
  """Differences between the log and the recorded ends of launches, one line each."""
  faults = []
  for index, launch in enumerate(launches):
    end, later = launch.get("end"), launches[index + 1 :]
    # A later launch that resumed from before this one's end rewrote its lines. Older records do not tell.
    if end and all(after.get("resumed_from", math.inf) >= end["iterations"] for after in later):
      changed = _changed_since(directory, end, end["iterations"] if later else None)
      faults += [changed] if changed else []
  return faults


def _changed_since(directory: RunDirectory, end: Mapping[str, Any], until: int | None) -> str:
  """Difference between the log and the recorded end of a launch; "" if there is none.

  Args:
    until: iteration after which later launches continued; None: this was the last.
  """
  change = _differs_from(directory, end[LOG], may_have_grown=until is not None) if LOG in end else ""
  if not change and (content := content_sha256(directory, until)) != end["content_sha256"]:
    change = f"content {content[:SHORT]}, recorded {end['content_sha256'][:SHORT]}"
  return f"the log has changed since its launch ended {end['ended']}: {change}" if change else ""


def _differs_from(directory: RunDirectory, hashes: Any, *, may_have_grown: bool = True) -> str:
  if not log_hashes.well_formed(directory, hashes):
    return "its sizes and hashes of the log are damaged"
  return log_hashes.departure(directory, hashes, may_have_grown=may_have_grown)


def _repetition(path: Path, lines: Sequence[Mapping[str, Any]]) -> list[str]:
  """Fault of the first repeated line; a run writes one line per kind and iteration."""
  numbers: dict[tuple[str, int], int] = {}
  for number, line in enumerate(lines, 1):
    kind, iteration = line["kind"], line["iteration"]
    if (kind, iteration) in numbers:
      first = numbers[kind, iteration]
      return [f"{path.name}, line {number} has {kind} of iteration {iteration} again, after line {first}"]
    numbers[kind, iteration] = number
  return []
