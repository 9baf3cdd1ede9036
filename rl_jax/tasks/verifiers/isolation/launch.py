"""Starts wardens: one beside each confined worker, and one for a process that runs programs itself."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from rl_jax.tasks.verifiers.isolation import interpreter
from rl_jax.tasks.verifiers.isolation.warden import Worker

ROOT = str(Path(__file__).resolve().parents[4])
"""Folder that holds rl_jax."""


class Warden:
  """A warden that ends with `close`, and with this process.

  Args:
    jobs: its end of the datagram socket on which programs come; None where a worker asks for them.
    worker: what it confines.
  """

  def __init__(self, jobs: socket.socket | None = None, worker: Worker | None = None):
    lifeline, self._held = os.pipe()
    descriptors: list[int] = [lifeline]
    arguments: list[Any] = [-1, lifeline, None]
    if jobs is not None:
      descriptors.append(jobs.fileno())
      arguments[0] = jobs.fileno()
    if worker is not None:
      descriptors.append(worker.connection)
      arguments[2] = worker._asdict()
    code = (
      f"import sys; sys.path.append({ROOT!r}); from rl_jax.tasks.verifiers.isolation import warden; "
      f"sys.exit(warden.main(*{arguments!r}))"
    )
    self.process = subprocess.Popen(
      [interpreter.path(), "-ISB", "-c", code],
      pass_fds=descriptors,
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,
      stderr=subprocess.DEVNULL,
      env={},
      cwd="/",
      start_new_session=True,  # so that Ctrl-C does not reach it
    )
    os.close(lifeline)

  def close(self) -> None:
    """End the warden and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
      self.process.send_signal(signal.SIGKILL)
    self.process.wait()
    os.close(self._held)


def own_warden() -> tuple[Warden, socket.socket]:
  """Start a warden without a worker; return it, and the socket on which it takes programs."""
  ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
  with theirs:
    return Warden(jobs=theirs), ours
