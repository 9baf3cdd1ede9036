"""Whether the files of a run are what its checkpoints and launches vouch for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from rl_jax.runs import json_lines, log_hashes
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.file_hashes import edited_files
from rl_jax.runs.launch_history import Launches, last_iteration, lost_launches
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics, read_timings
from rl_jax.training import manifests
from rl_jax.training.checkpoints import Checkpoints

LOG = "log"
"""Where the metadata of a checkpoint has the hashes of the log; older ones have none."""


def checkpoint_fault(directory: RunDirectory, identity: str, step: int, metadata: Mapping[str, Any]) -> str:
  """Why a run cannot go on from a checkpoint with this metadata, "" if it can: it is another run's, is not the one that
  was saved, or the log up to its step is no longer what it was.

  A checkpoint without hashes of the log is held against the end of the last launch, where that has one.
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
  """What is known of a run's files."""

  faults: list[str]
  until: float
  """The last iteration whose lines are vouched for, -1 for none, infinity for all."""
  open_lines: int
  """Lines of metrics after it."""

  @property
  def doubt(self) -> str:
    """What nothing vouches for; "" where there is no such thing."""
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
    *_repetition(directory.metrics, lines),
    *_repetition(directory.timings, read_timings(directory.timings)),
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
  """Which checkpoints of those that the latest launch ended with are gone, a line each."""
  steps = launches[-1].get("end", {}).get("checkpoints", {}) if launches else {}
  gone = [step for step in steps if not (directory.checkpoints / step).is_dir()]
  return [f"checkpoint {step} was removed since launch {len(launches)}" for step in gone]


def _replaced_checkpoints(directory: RunDirectory, launches: Launches) -> list[int]:
  """Steps of checkpoints that are not those that a launch ended with. One that a later launch went back behind may have
  been saved again by it, and counts no more."""
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
  """How the log differs from what the checkpoint of a step vouches for; "" if it does not."""
  if not log_hashes.well_formed(directory, hashes):
    return "its sizes and hashes of the log are damaged"
  departure = log_hashes.departure(directory, hashes)
  if departure:
    return departure
  # What vouches for less than was written up to its step would let a resume drop the rest as if it came later.
  last = json_lines.iteration_at(directory.metrics, hashes[directory.metrics.name][0])
  return "" if last == step else f"it vouches for {directory.metrics.name} up to iteration {last}"


def _changed_ends(directory: RunDirectory, launches: Launches) -> list[str]:
  """How the log differs from what launches ended with, a line each."""
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


def _repetition(path: Path, lines: Sequence[Mapping[str, Any]]) -> list[str]:
  """The first line that has what a line before it has; a run writes one of a kind and an iteration."""
  numbers: dict[tuple[str, int], int] = {}
  for number, line in enumerate(lines, 1):
    kind, iteration = line["kind"], line["iteration"]
    if (kind, iteration) in numbers:
      first = numbers[kind, iteration]
      return [f"{path.name}, line {number} has {kind} of iteration {iteration} again, after line {first}"]
    numbers[kind, iteration] = number
  return []
