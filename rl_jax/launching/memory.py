"""Freed memory stays with the process, because every iteration needs as much again.

XLA on CPU allocates one large block for the intermediate results of a program and frees it at the end. The C library of
Linux returns such blocks to the system, which has to clear each page again at its next use: a third of the time of an
update (0.78 and 0.53 s of CPU time for 256 rows of 48 tokens through a model of 1.07M parameters).
"""

from __future__ import annotations

import ctypes
import sys

# Parameters of mallopt(3): one arena (others take large blocks by mmap), no mmap, no trimming of the top of the heap.
_KEEP = ((-8, 1), (-4, 0), (-1, -1))


def keep_freed_memory() -> None:
  """Tell glibc to keep freed memory; do nothing with another C library. Call this before JAX starts a device.

  The process then stays at its largest size.
  """
  mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
  if mallopt is not None:
    for parameter, value in _KEEP:
      mallopt(parameter, value)
