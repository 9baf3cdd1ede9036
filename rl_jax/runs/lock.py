"""Lock of a run: one process at a time may write."""

from __future__ import annotations

import fcntl
import os
import socket
import weakref
from collections.abc import Callable
from pathlib import Path

from rl_jax.errors import UserError
from rl_jax.runs.files import writing


class Lock:
  """Exclusive `flock` on a file, held until `release` or the end of the process.

  The file contains the name of the holder and remains unless the holder removes it. A waiting process that locks a
  removed file starts again with the file now at the path.

  Args:
    wait: called with the name of the holder, repeatedly, for as long as it returns True.

  Raises:
    UserError: if another process, or another part of this one, holds the lock and `wait` does not wait for it.
  """

  def __init__(self, path: Path, wait: Callable[[str], bool] = lambda holder: False) -> None:
    self.path = path
    with writing(path):
      self._file: int | None = None
      try:
        while not self._taken():
          assert self._file is not None
          holder = os.pread(self._file, 200, 0).decode(errors="replace").strip() or "unknown"
          if not wait(holder):
            raise UserError(
              f"{path.parent} is being written by another process ({holder}): wait for it, or choose another --workdir"
            )
      except BaseException:
        self._close()
        raise
      assert self._file is not None
      os.ftruncate(self._file, 0)
      os.pwrite(self._file, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    # A forked child shares the lock and would keep it if this process were killed: it closes its copy at once.
    reference = weakref.ref(self)
    os.register_at_fork(after_in_child=lambda: _let_go(reference))

  def in_place(self) -> bool:
    """Return whether the locked file is still the one at `path`."""
    if self._file is None:
      return False
    try:
      return os.path.samestat(os.fstat(self._file), os.stat(self.path))
    except OSError:
      return False

  def moved_to(self) -> Path | None:
    """Current folder of the file; None if it is gone or unknown to the system."""
    try:
      place = Path(os.readlink(f"/proc/self/fd/{self._file}"))
      return place.parent if os.path.samestat(os.fstat(self._file or 0), os.stat(place)) else None
    except OSError:
      return None

  def release(self) -> None:
    """Release the lock. May be called again."""
    self._close()

  def remove(self) -> None:
    """Release the lock and remove the file, unless it is no longer ours."""
    if self.in_place():
      self.path.unlink()
    self._close()

  def _taken(self) -> bool:
    """Try to take the lock; return whether it was free."""
    while True:
      self._close()
      self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
      try:
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
      except BlockingIOError:
        return False
      if self.in_place():  # the last holder may have removed the file between opening and locking
        return True

  def _close(self) -> None:
    if self._file is not None:
      os.close(self._file)
      self._file = None

  def __del__(self) -> None:
    if getattr(self, "_file", None) is not None:
      self._close()


def _let_go(reference: weakref.ref[Lock]) -> None:
  lock = reference()
  if lock is not None:
    lock._close()
