"""Processes of workers, confined by a warden or with the rights of this process."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess

from rl_jax.tasks.verifiers import confinement
from rl_jax.tasks.verifiers.isolation.launch import Warden


def start(module: str, connection: int, *, isolated: bool) -> Confined | Unconfined:
  """Start a worker. Args: module: where its `main` is; connection: its end of a socket; isolated: confined or not."""
  return Confined(module, connection) if isolated else Unconfined(module, connection)


class Confined:
  """A worker inside a warden's namespaces."""

  def __init__(self, module: str, connection: int):
    self._warden = Warden(worker=confinement.worker(module, connection))

  def close(self) -> None:
    """End it and all that it has started."""
    self._warden.close()


class Unconfined:
  """A worker with the rights of this process."""

  def __init__(self, module: str, connection: int):
    lifeline, self._held = os.pipe()
    # A program of its own: a fork of a process with JAX's threads may hang, and multiprocessing's spawn would import
    # the module that was started, JAX included.
    self._process = subprocess.Popen(
      confinement.command(module, connection, f"lifeline_fd={lifeline}"),
      pass_fds=[connection, lifeline],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,  # a verifier that prints without end must not fill a terminal
      stderr=subprocess.DEVNULL,
      env=confinement.environment(),
      start_new_session=True,  # so that what a verifier starts can be killed with it, and Ctrl-C does not reach it
    )
    os.close(lifeline)

  def close(self) -> None:
    """End it and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self._process.pid, signal.SIGKILL)
    self._process.wait()
    os.close(self._held)
