"""Check of a run's files against the hashes in its checkpoints and launches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rl_jax.runs import json_lines, log_hashes
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.file_hashes import edited_files
from rl_jax.runs.launch_history import Launches, last_iteration, lost_launches
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import manifests
from rl_jax.training.checkpoints import Checkpoints

LOG = "log"
"""Key of the log's hashes in the metadata of a checkpoint; older checkpoints lack it."""


def checkpoint_fault(directory: RunDirectory, identity: str, step: int, metadata: Mapping[str, Any]) -> str:
  """Reason why a run cannot resume from a checkpoint with this metadata, "" if it can: it is another run's, is not the
  one that was saved, or the log up to its step was changed.

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
  """The last iteration whose lines are vouched for, -1 for none, infinity for all."""
  open_lines: int
  """Lines of metrics after it."""

  @property
  def doubt(self) -> str:
    """Description of the lines that nothing vouches for; "" if there are none."""
    if not self.open_lines:
      return ""
    if self.until < 0:
      return "nothing vouches for its log (its last launch goes on, or was killed before its first checkpoint)"
    return (
      f"its log is vouched for up to iteration {self.until:.0f} by a checkpoint, and by nothing after that (its last "
      "launch goes on, or was killed)"
    )


def check(directory: RunDirectory, launches: Launches) -> Vouched:
  """Hold the files of a run against the hashes of its checkpoints, and against those of its launches."""
  checkpoints = Checkpoints(directory.checkpoints)
  damaged = checkpoints.faults()
  replaced = [step for step in _replaced_checkpoints(directory, launches) if str(step) not in damaged]
  hashes = {step: metadata[LOG] for step, metadata in checkpoints.metadata().items() if LOG in metadata}
  departures = {step: _departure(directory, step, hashes[step]) for step in hashes}
  lines = read_metrics(directory.metrics)
  faults = [
    *lost_launches(launches, last_iteration(lines)),
    *edited_files(directory, launches),
    *(f"checkpoint {name} {fault}" for name, fault in damaged.items()),
    *(f"checkpoint {step} is not the one that its launch left" for step in replaced),
    *(
      f"the log has changed since checkpoint {step} was saved: {departure}"
      for step, departure in departures.items()
      if departure
    ),
    *_changed_ends(directory, launches),
    *_repetition(directory.metrics),
    *_repetition(directory.timings),
  ]
  if launches and launches[-1].get("end"):
    until = math.inf
  else:
    until = max((step for step, departure in departures.items() if not departure), default=-1)
  return Vouched(faults, until, sum(line["iteration"] > until for line in lines))


def digests(checkpoints: Checkpoints) -> dict[str, str]:
  """SHA-256 of the manifests of finished checkpoints by step, by which the end of a launch vouches for them."""
  return {str(step): manifests.digest(checkpoints.folder / str(step)) for step in checkpoints.steps()}


def removed_checkpoints(directory: RunDirectory, launches: Launches) -> list[str]:
  """One line for each checkpoint that the latest launch ended with and that is gone."""
  steps = launches[-1].get("end", {}).get("checkpoints", {}) if launches else {}
  gone = [step for step in steps if not (directory.checkpoints / step).is_dir()]
  return [f"checkpoint {step} was removed since launch {len(launches)}" for step in gone]


def _replaced_checkpoints(directory: RunDirectory, launches: Launches) -> list[int]:
  """Steps of checkpoints that differ from those that a launch ended with. A later launch that resumed from before a
  checkpoint may have saved it again; such a checkpoint does not count."""
  digests: dict[int, str] = {}
  for launch in launches:
    resumed = launch.get("resumed_from", 0)
    digests = {step: digest for step, digest in digests.items() if step <= resumed}
    digests |= {int(step): digest for step, digest in launch.get("end", {}).get("checkpoints", {}).items()}
  folders = {step: directory.checkpoints / str(step) for step in digests}
  return [step for step, folder in folders.items() if folder.is_dir() and _digest(folder) != digests[step]]


def _digest(checkpoint: Path) -> str:
  try:
    return manifests.digest(checkpoint)
  except OSError:
    return ""


def _departure(directory: RunDirectory, step: int, hashes: Any) -> str:
  """Difference between the log and what the checkpoint of a step vouches for; "" if there is none."""
  if not log_hashes.well_formed(directory, hashes):
    return "its sizes and hashes of the log are damaged"
  departure = log_hashes.departure(directory, hashes)
  if departure:
    return departure
  # What vouches for less than was written up to its step would let a resume drop the rest as if it came later.
  last = json_lines.iteration_at(directory.metrics, hashes[directory.metrics.name][0])
  return "" if last == step else f"it vouches for {directory.metrics.name} up to iteration {last}"


def _changed_ends(directory: RunDirectory, launches: Launches) -> list[str]:
  """Differences between the log and what launches ended with, a line each."""
  faults = []
  for index, launch in enumerate(launches):
    end, later = launch.get("end"), launches[index + 1 :]
    # A launch that went back further than this one's end has written its lines again. An older record does not say.
    if end and all(after.get("resumed_from", math.inf) >= end["iterations"] for after in later):
      changed = _changed_since(directory, end, end["iterations"] if later else None)
      faults += [changed] if changed else []
  return faults


def _changed_since(directory: RunDirectory, end: Mapping[str, Any], until: int | None) -> str:
  content = content_sha256(directory, until)
  if content == end["content_sha256"]:
    return ""
  return (
    f"the log has changed since its launch ended {end['ended']}: content {content[:SHORT]}, recorded "
    f"{end['content_sha256'][:SHORT]}"
  )


def _repetition(path: Path) -> list[str]:
  """Fault of the first line that repeats an earlier one; a run writes one line for each kind and iteration."""
  numbers: dict[tuple[Any, int], int] = {}
  for number, line in enumerate(read_metrics(path), 1):
    kind, iteration = line.get("kind"), line["iteration"]
    if (kind, iteration) in numbers:
      first = numbers[kind, iteration]
      return [f"{path.name}, line {number} has {kind} of iteration {iteration} again, after line {first}"]
    numbers[kind, iteration] = number
  return []
