"""Whether a run's log is what its checkpoints and launches vouch for."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from rl_jax.runs import log_hashes
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics
from rl_jax.training.checkpoints import Checkpoints

LOG = "log"
"""Where the metadata of a checkpoint has the hashes of the log; older ones have none."""


def checkpoint_fault(directory: RunDirectory, identity: str, metadata: Mapping[str, Any]) -> str:
  """Why a run cannot go on from a checkpoint with this metadata, "" if it can: it is another run's, or the log up to
  its step is no longer what it was.

  A checkpoint without hashes of the log is held against the end of the last launch, where that has one.
  """
  if metadata.get("identity", identity) != identity:
    return "is of another run"
  if LOG in metadata:
    departure = log_hashes.departure(directory, metadata[LOG])
    return f"does not fit the log ({departure})" if departure else ""
  launches = read_launches(directory.manifest) if directory.manifest.exists() else []
  changed = _changed_since(directory, launches[-1]["end"], None) if launches and "end" in launches[-1] else ""
  return f"does not fit: {changed}" if changed else ""


class Vouched(NamedTuple):
  """What is known of a log."""

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


def check(directory: RunDirectory, launches: list[dict[str, Any]]) -> Vouched:
  """Hold the log of a run against the hashes of its checkpoints, and against those that its launches ended with."""
  checkpoints = Checkpoints(directory.checkpoints).metadata()
  hashes = {step: metadata[LOG] for step, metadata in checkpoints.items() if LOG in metadata}
  departures = {step: log_hashes.departure(directory, hashes[step]) for step in hashes}
  faults = [
    f"the log has changed since checkpoint {step} was saved: {departure}"
    for step, departure in departures.items()
    if departure
  ]
  for index, launch in enumerate(launches):
    end, later = launch.get("end"), launches[index + 1 :]
    # A launch that went back further than this one's end has written its lines again. An older record does not say.
    if end and all(after.get("resumed_from", math.inf) >= end["iterations"] for after in later):
      changed = _changed_since(directory, end, end["iterations"] if later else None)
      faults += [changed] if changed else []
  if launches and launches[-1].get("end"):
    until = math.inf
  else:
    until = max((step for step, departure in departures.items() if not departure), default=-1)
  open_lines = sum(line["iteration"] > until for line in read_metrics(directory.metrics))
  return Vouched(faults, until, open_lines)


def _changed_since(directory: RunDirectory, end: Mapping[str, Any], until: int | None) -> str:
  content = content_sha256(directory, until)
  if content == end["content_sha256"]:
    return ""
  return (
    f"the log has changed since its launch ended {end['ended']}: content {content[:SHORT]}, recorded "
    f"{end['content_sha256'][:SHORT]}"
  )
