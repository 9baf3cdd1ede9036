"""Trackio, on this machine or on a Space. Its own variables apply: TRACKIO_DIR, TRACKIO_SPACE_ID, …"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from rl_jax.runs.trackers.tracker import PROJECT, TrackedRun


class Writer:
  """Writer of a run of Trackio, which continues runs by name."""

  def __init__(self, run: Any) -> None:
    self.id: str = run.name
    self._run = run

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Log values at the step `iteration`."""
    self._run.log(dict(values), step=iteration)

  def close(self, finished: bool) -> None:
    """Send what is left. Trackio does not tell finished runs from others."""
    self._run.finish()


def open_run(run: TrackedRun) -> Writer:
  """Begin or continue a run."""
  import trackio

  tracked = trackio.init(
    project=os.environ.get("TRACKIO_PROJECT", PROJECT),
    name=run.id or f"{run.name}-{secrets.token_hex(3)}",
    resume="allow",
    config=dict(run.config),
    embed=False,
  )
  return Writer(tracked)
