"""Ctrl-C and SIGTERM: the first asks a run to save and end, the second ends it at once."""

from __future__ import annotations

import signal
from types import FrameType


class Stop:
  """Notes the first signal, after `listen`; the loop looks at `requested` where it can save."""

  def __init__(self) -> None:
    self.requested: signal.Signals | None = None

  def listen(self) -> None:
    """Takes over SIGINT and SIGTERM of this process (main thread only)."""
    for number in (signal.SIGINT, signal.SIGTERM):
      signal.signal(number, self._note)

  def _note(self, number: int, frame: FrameType | None) -> None:
    if self.requested is not None:
      raise KeyboardInterrupt
    self.requested = signal.Signals(number)
