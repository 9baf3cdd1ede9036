"""Worker of the pool: scores one response after another. Imports no JAX.

The process started by the pool imports the verifier and forks; a child scores. A child crashed by a response is quickly
replaced by another fork, and no response is scored by a process that another one has damaged.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.datasets import entries
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import sandbox, wire
from rl_jax.tasks.verifiers.attempt import attempt, line

WALL = 5
"""Time that a verifier may sleep, as a multiple of its CPU time."""
IDLE_SHARE = 0.02
"""Share of a CPU below which a process counts as sleeping, rather than waiting for the CPU."""
_POOL_HAS_GONE = 3


def main(connection_fd: int, lifeline_fd: int = -1, jobs_fd: int = -1) -> int:
  """Serve the pool at the other end of a socket until it goes away.

  Args:
    lifeline_fd: pipe that the pool's process holds open; its end ends this process group, even in an endless loop. -1:
      a warden sees to that.
    jobs_fd: socket of the warden that runs programs; -1: there is none.
  """
  if lifeline_fd >= 0:
    fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
    fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)  # the kernel sends SIGIO, which nothing catches
  if jobs_fd >= 0:
    sandbox.use_warden(jobs_fd)
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to handle
  connection = socket.socket(fileno=connection_fd)
  try:
    order = wire.receive(connection)
    try:
      verify = scoring.load(order["verifier"])
    except ValueError as error:
      wire.send(connection, {"fatal": line(error)})
      return 1
    wire.send(connection, {"ready": True})
    busy = memoryview(mmap.mmap(-1, 8)).cast("q")  # shared with the child: the item that it scores; 0: none
    while True:
      busy[0] = 0
      child = os.fork()
      if child == 0:
        os._exit(_serve(connection, verify, order, busy))
      status = _status(child)
      if busy[0]:
        how = "time" if status == -signal.SIGPROF else f"status {status}"
        wire.send(connection, {"item": busy[0], "ended": how})
        if jobs_fd < 0:  # what the child has started may live on, and ends with the whole group
          return 1
      elif status == _POOL_HAS_GONE:
        return 0
  except wire.Broken:
    return 0


def _status(child: int) -> int:
  """Wait for a child's exit status, or the number of its signal below zero."""
  while True:
    pid, status = os.wait()
    if pid == child:  # not an orphan of an earlier one, where this is the first process of a namespace
      if os.getpid() == 1:
        _kill_others()
      return os.waitstatus_to_exitcode(status)


def _kill_others() -> None:
  try:
    os.kill(-1, signal.SIGKILL)
  except ProcessLookupError:
    return


def _serve(connection: socket.socket, verify: Callable[..., Verdict], order: dict[str, Any], busy: memoryview) -> int:
  """Score responses until this process has served or grown enough; return its exit status."""
  resource.setrlimit(resource.RLIMIT_DATA, (order["memory_bytes"],) * 2)
  signal.signal(signal.SIGPROF, signal.SIG_DFL)
  arguments = entries.loads(order["arguments"])
  try:
    for _ in range(order["items"]):
      item, response, entry = wire.receive(connection)
      busy[0] = item
      clock = _Clock(connection, order["seconds"])
      result = attempt(verify, response, entries.loads(entry), arguments)
      clock.stop()
      wire.send(connection, {"item": item, **result._asdict()})
      busy[0] = 0
      if _resident_bytes() > order["memory_bytes"] // 2:
        break
  except wire.Broken:
    return _POOL_HAS_GONE
  return 0


class _Clock:
  """Clock that ends this process when a response has used its CPU time, or has slept too long."""

  def __init__(self, connection: socket.socket, seconds: float):
    self._connection, self._wall = connection, WALL * seconds
    self._began, self._used = time.monotonic(), time.process_time()
    signal.signal(signal.SIGALRM, self._wake)
    signal.setitimer(signal.ITIMER_REAL, self._wall)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process, also one deep in a library

  def stop(self) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0.0)
    signal.setitimer(signal.ITIMER_REAL, 0.0)

  def _wake(self, number: int, frame: FrameType | None) -> None:
    if time.process_time() - self._used < IDLE_SHARE * (time.monotonic() - self._began):
      os.kill(os.getpid(), signal.SIGPROF)
    signal.setitimer(signal.ITIMER_REAL, self._wall)


def _resident_bytes() -> int:
  """Memory held now; 0 where the system does not say. The peak that getrusage gives begins with the parent's."""
  if not os.path.exists("/proc/self/statm"):
    return 0
  with open("/proc/self/statm") as stream:
    return int(stream.read().split()[1]) * resource.getpagesize()
