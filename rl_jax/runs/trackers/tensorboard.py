"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_jax.runs.visible import visible


class TensorBoard:
  """Writer of event files, opened with the first values.

  Args:
    folder: folder of the event files.
  """

  id = ""

  def __init__(self, folder: Path) -> None:
    self._folder = folder
    self._events: Any = None
    self._purge_step: int | None = None

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Add values at the step `iteration`."""
    if self._events is None and values:
      import tensorboardX

      # The default file name has whole seconds: two writers within a second would overwrite each other.
      self._events = tensorboardX.SummaryWriter(
        str(self._folder),
        purge_step=self._purge_step,
        filename_suffix=f".{time.time_ns()}",
        flush_secs=10,
      )
    for name, value in values.items():
      self._events.add_scalar(visible(name, keep=""), value, iteration)

  def hide_after(self, iteration: int) -> None:
    """Hide earlier launches' values after `iteration`, since event files only grow."""
    self.close()
    self._purge_step = iteration + 1

  def flush(self) -> None:
    """Write waiting values to the files."""
    if self._events is not None:
      self._events.flush()

  def close(self, finished: bool = True) -> None:
    """Close the files. A later `write` opens new ones."""
    if self._events is not None:
      self._events.close()
      self._events = None
