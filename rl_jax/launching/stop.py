"""Ctrl-C, SIGTERM and SIGHUP: the first asks a run to save and end, the second ends it at once."""

from __future__ import annotations

import signal
from pathlib import Path

from rl_jax.launching import interrupts, processes
from rl_jax.training import manifests


class Stop:
  """Notes the first signal after `listen`; the loop calls `check` at points where it can save."""

  def __init__(self) -> None:
    self._noted: signal.Signals | None = None
    self._agreed: signal.Signals | None = None
    self._checkpoints: list[Path] = []  # folders of the launched runs, in order

  @property
  def requested(self) -> signal.Signals | None:
    """Signal that this process has noted, or that `check` has learned of from another."""
    return self._agreed or self._noted

  def listen(self) -> None:
    """Handle the signals of `interrupts.SAVED_AT` (main thread only)."""
    interrupts.listen(self._note, self.ended)

  def covers(self, checkpoints: Path) -> None:
    """Register the checkpoint folder of a launched run."""
    self._checkpoints.append(checkpoints)

  def ended(self) -> str:
    """Message after an immediate end, with the newest checkpoint."""
    for folder in reversed(self._checkpoints):
      if steps := manifests.finished(folder):
        return f"ended at once; checkpoint {steps[-1]} in {folder} is the newest"
    return "ended at once; no checkpoint is saved"

  def check(self) -> signal.Signals | None:
    """Signal that any process of the run has noted; all processes call this at the same point."""
    number = processes.largest(self._noted or 0)
    self._agreed = signal.Signals(number) if number else None
    return self._agreed

  def _note(self, number: signal.Signals) -> str:
    self._noted = number
    again = " again" if number == signal.SIGINT else ""
    return f"{number.name}: saving after this iteration; Ctrl-C{again} ends at once"
