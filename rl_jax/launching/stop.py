"""Ctrl-C and SIGTERM: the first asks a run to save and end, the second ends it at once."""

from __future__ import annotations

import signal
from types import FrameType

from rl_jax.launching import processes


class Stop:
  """Notes the first signal, after `listen`; the loop calls `check` where it can save."""

  def __init__(self) -> None:
    self._noted: signal.Signals | None = None
    self._agreed: signal.Signals | None = None

  @property
  def requested(self) -> signal.Signals | None:
    """The signal that this process has noted, or that `check` heard of."""
    return self._agreed or self._noted

  def listen(self) -> None:
    """Takes over SIGINT and SIGTERM of this process (main thread only)."""
    for number in (signal.SIGINT, signal.SIGTERM):
      signal.signal(number, self._note)

  def check(self) -> signal.Signals | None:
    """The signal that this process or another one of the run has noted; all of them call this at the same point."""
    number = processes.largest(self._noted or 0)
    self._agreed = signal.Signals(number) if number else None
    return self._agreed

  def _note(self, number: int, frame: FrameType | None) -> None:
    if self._noted is not None:
      raise KeyboardInterrupt
    self._noted = signal.Signals(number)
