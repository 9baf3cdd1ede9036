"""Errors of Orbax as one short reason, in place of its own log messages."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any


class _Noise(logging.Filter):
  """Filter that drops Orbax's messages in absl's shared logger: its errors become one UserError instead."""

  def filter(self, record: logging.LogRecord) -> bool:
    return "/orbax/" not in record.pathname.replace("\\", "/")


NOISE = _Noise()


def hush_late_writes() -> None:
  """Silence writes that end after one has failed: Orbax no longer waits for them, and each would print a traceback."""
  original = sys.unraisablehook
  if getattr(original, "hushes_late_writes", False):
    return

  def hook(event: Any) -> None:
    if not (isinstance(event.exc_value, RuntimeError) and str(event.exc_value) == "Event loop is closed"):
      original(event)

  hook.hushes_late_writes = True  # type: ignore[attr-defined]
  sys.unraisablehook = hook


def reason(error: BaseException) -> str:
  """Message of the operating system, extracted from tensorstore's long C++ status line if need be."""
  if isinstance(error, OSError) and error.strerror:
    return error.strerror
  lines = str(error).strip().splitlines() or [type(error).__name__]
  match = re.search(r"OS error(?: code)? \d+: ([A-Z][\w ]*\w)", lines[0]) or re.search(
    r"(No space left on device|File too large|Disk quota exceeded|Input/output error|Read-only file system|"
    r"Permission denied)",
    str(error),
  )
  return match.group(1) if match else lines[0]
