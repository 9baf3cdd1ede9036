"""Worker of the pool: scores one response after another. Imports no JAX.

The process that the pool starts imports the verifier and forks; a child scores. A child that a response has brought
down is replaced by another fork in no time, and no response is scored by a process that another one has damaged.
Workers of other kinds, such as those of environments, are served in the same way (`supervise`).
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
"""Share of a CPU below which a process has slept, and not waited for others to let it run."""
POOL_HAS_GONE = 3
"""Exit status of a child whose owner has gone."""


Serve = Callable[[socket.socket, Any, dict[str, Any], memoryview], int]
"""(connection, what was loaded, order, number of the current item) -> exit status of a child, `POOL_HAS_GONE` if so."""


def main(connection_fd: int, lifeline_fd: int = -1, jobs_fd: int = -1) -> int:
  """Serve the pool of verifiers at the other end of a socket until it goes away; see `supervise`."""
  load = lambda order: scoring.load(order["verifier"])
  return supervise(connection_fd, lifeline_fd, jobs_fd, load=load, serve=_serve)


def supervise(
  connection_fd: int, lifeline_fd: int, jobs_fd: int, *, load: Callable[[dict[str, Any]], Any], serve: Serve
) -> int:
  """Let one child after the other serve the owner of a socket until it goes away; return the exit status.

  Args:
    lifeline_fd: pipe that the pool's process holds open; its end ends this process group, even in an endless loop. -1:
      a warden sees to that.
    jobs_fd: socket of the warden that runs programs; -1: there is none.
    load: imports what the order, the first message, names; ValueError in one line.
    serve: what a child does. It keeps the number of the item that it works at in the shared memory, and 0 between.
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
      loaded = load(order)
    except ValueError as error:
      wire.send(connection, {"fatal": line(error)})
      return 1
    wire.send(connection, {"ready": True})
    busy = memoryview(mmap.mmap(-1, 8)).cast("q")  # shared with the child: the item that it scores; 0: none
    while True:
      busy[0] = 0
      child = os.fork()
      if child == 0:
        os._exit(serve(connection, loaded, order, busy))
      status = _status(child)
      if busy[0]:
        how = "time" if status == -signal.SIGPROF else f"status {status}"
        wire.send(connection, {"item": busy[0], "ended": how})
        if jobs_fd < 0:  # what the child has started may live on, and ends with the whole group
          return 1
      elif status == POOL_HAS_GONE:
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
  limit(order["memory_bytes"])
  arguments = entries.loads(order["arguments"])
  try:
    for _ in range(order["items"]):
      item, response, entry = wire.receive(connection)
      busy[0] = item
      clock = Clock(order["seconds"])
      result = attempt(verify, response, entries.loads(entry), arguments)
      clock.stop()
      wire.send(connection, {"item": item, **result._asdict()})
      busy[0] = 0
      if _resident_bytes() > order["memory_bytes"] // 2:
        break
  except wire.Broken:
    return POOL_HAS_GONE
  return 0


def limit(memory_bytes: int) -> None:
  """Limit the memory that this process may allocate, and let a `Clock` end it."""
  resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes,) * 2)
  signal.signal(signal.SIGPROF, signal.SIG_DFL)


class Clock:
  """Clock that ends this process when a response has used its CPU time, or has slept too long."""

  def __init__(self, seconds: float):
    self._wall = WALL * seconds
    self._began, self._used = time.monotonic(), time.process_time()
    signal.signal(signal.SIGALRM, self._wake)
    signal.setitimer(signal.ITIMER_REAL, self._wall)
    signal.setitimer(signal.ITIMER_PROF, seconds)  # SIGPROF ends a process, also one deep in a library

  def stop(self) -> None:
    """Stop the clock."""
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
