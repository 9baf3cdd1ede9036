"""Interface of a tracker's writer. A module of this package with `open_run(run) -> Tracker` is one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

PROJECT = "rl_jax"
"""Name of the project or experiment that runs are collected in, unless the tracker's own variables name another."""


class TrackedRun(NamedTuple):
  """A launch of a run, as a tracker is told of it.

  Attributes:
    name: name of the run's folder.
    folder: existing folder for the tracker's own files.
    config: resolved config, in JSON types.
    id: the tracker's name of the run in earlier launches; "" for a new run.
  """

  name: str
  folder: Path
  config: Mapping[str, Any]
  id: str = ""


class Tracker(Protocol):
  """Writer of one launch's metrics. Any exception of it means that the tracker has failed.

  Attributes:
    id: name by which a later launch continues the run.
  """

  id: str

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Add finite values after `iteration` iterations, named as in TensorBoard. A resumed launch writes the iterations
    after its checkpoint again, with the same values."""
    ...

  def close(self, finished: bool) -> None:
    """End the launch.

    Args:
      finished: False if the run was stopped or has failed.
    """
    ...
