"""A pool of worker processes that score responses, each with a deadline; what hangs or crashes gets no verdict."""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.worker import Answer

START_SECONDS = 120.0
"""What a worker may take to start and import its verifier."""
MOST_FAILED_STARTS = 3
TIMED_OUT = Verdict(None, {"timed_out": 1.0})
CRASHED = Verdict(None, {"crashed": 1.0})
RAISED = Verdict(None, {"error": 1.0})
Item = tuple[str, dict[str, Any]]


class _Worker:
  """One process and what it works on."""

  def __init__(self, verifier: str, arguments: Mapping[str, Any], most_bytes: int):
    ours, theirs = socket.socketpair()
    lifeline, held = os.pipe()
    self._lifeline = open(held, "wb", buffering=0)
    # A program of its own: a fork of a process with JAX's threads may hang, and multiprocessing's spawn would import
    # the module that was started, JAX included.
    code = (
      f"import sys; sys.path[:] = {sys.path!r}; from rl_jax.tasks.verifiers import worker; "
      f"worker.main({theirs.fileno()}, {lifeline})"
    )
    self.process = subprocess.Popen(
      [sys.executable, "-c", code],
      pass_fds=[theirs.fileno(), lifeline],
      stdin=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL,  # a verifier that prints without end must not fill a terminal
      stderr=subprocess.DEVNULL,
      # The hash seed, so that a verdict that hangs on the order of a set is the same in each run.
      env={**os.environ, "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "PYTHONHASHSEED": "0"},
      start_new_session=True,  # so that what a verifier starts can be killed with it, and Ctrl-C does not reach it
    )
    theirs.close()
    os.close(lifeline)
    self.connection: Connection = Connection(ours.detach())
    self.ready = False
    self.item: int | None = None
    self.served = 0
    self.deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then it cannot start, which is noticed later
      self.connection.send((verifier, dict(arguments), most_bytes))

  def give(self, item: int, work: Item, seconds: float) -> None:
    """Sends a response to score; OSError: the worker has died."""
    self.connection.send(work)
    self.item, self.deadline = item, time.monotonic() + seconds

  def receive(self) -> Answer | None:
    """What the worker sent; None: it has died."""
    try:
      return self.connection.recv()
    except (EOFError, ConnectionResetError):
      return None

  def kill(self) -> None:
    """Ends the process and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self.process.pid, signal.SIGKILL)
    self.process.wait()
    self.connection.close()
    self._lifeline.close()


class Pool:
  """A scorer with worker processes that know no accelerator; one that passes its deadline or dies is replaced.

  It may be called from any thread, one call at a time. An interrupted call (Ctrl-C) leaves a pool that can be used.
  Workers end with close(), with the pool, and with this process, even if that is killed.

  Attributes:
    timeouts, crashes, errors: responses without a verdict so far: past the deadline; the worker died; the verifier
      raised.
    last_error: what the verifier raised last; "" so far.

  Args:
    verifier: 'package.module:function', see `rl_jax.tasks.scoring`.
    arguments: keyword arguments of it.
    workers: number of processes.
    seconds: deadline of one response.
    items_per_worker: responses after which a worker is replaced, whatever its verifier has leaked.
    megabytes: memory that a worker may allocate; one that holds half of it after a response is replaced.

  Raises: ValueError: the workers cannot start; CannotVerify: the verifier can score no response.
  """

  def __init__(
    self,
    verifier: str,
    arguments: Mapping[str, Any],
    *,
    workers: int,
    seconds: float,
    items_per_worker: int = 10_000,
    megabytes: int = 4096,
  ):
    self._verifier, self._arguments, self._count, self._seconds = verifier, arguments, workers, seconds
    self._items_per_worker, self._bytes = items_per_worker, megabytes * 2**20
    self._workers: list[_Worker] = []
    self._failed_starts = 0
    self._lock = threading.Lock()
    self._finish = weakref.finalize(self, _kill_all, self._workers)
    self.timeouts = self.crashes = self.errors = 0
    self.last_error, self._told = "", True

  def __call__(self, items: Sequence[Item]) -> list[Verdict]:
    """Verdicts in the order of the items."""
    with self._lock:
      verdicts: list[Verdict] = [CRASHED] * len(items)
      try:
        self._score(items, verdicts)
      finally:
        for worker in [worker for worker in self._workers if worker.item is not None]:
          self._remove(worker)  # a call that was interrupted: the answer would be taken for that of another item
      return verdicts

  def _score(self, items: Sequence[Item], verdicts: list[Verdict]) -> None:
    waiting = deque(range(len(items)))
    while waiting or any(worker.item is not None for worker in self._workers):
      busy = sum(worker.item is not None for worker in self._workers)
      while len(self._workers) < min(self._count, busy + len(waiting)):
        self._workers.append(_Worker(self._verifier, self._arguments, self._bytes))
      for worker in [worker for worker in self._workers if worker.ready and worker.item is None]:
        self._give(worker, items, waiting)
      expected = [worker for worker in self._workers if not worker.ready or worker.item is not None]
      until = min((worker.deadline for worker in expected), default=0.0)
      connections = [worker.connection for worker in expected]
      answered = multiprocessing.connection.wait(connections, max(0.0, until - time.monotonic())) if expected else []
      for worker in expected:
        if worker.connection in answered:
          self._take(worker, verdicts)
        elif time.monotonic() >= worker.deadline:
          self._give_up(worker, verdicts, TIMED_OUT)

  def _give(self, worker: _Worker, items: Sequence[Item], waiting: deque[int]) -> None:
    if waiting:
      item = waiting.popleft()
      try:
        worker.give(item, items[item], self._seconds)
      except (BrokenPipeError, ConnectionResetError):  # it died while it had nothing to do
        waiting.appendleft(item)
        self._remove(worker)

  def _take(self, worker: _Worker, verdicts: list[Verdict]) -> None:
    """Takes what a worker sent."""
    answer = worker.receive()
    if answer is None:
      self._give_up(worker, verdicts, CRASHED)
      return
    if answer.fatal:
      self._remove(worker)
      if worker.item is None:
        raise ValueError(f"a worker for {self._verifier} did not start: {answer.error}")
      raise CannotVerify(answer.error)
    if not worker.ready:
      worker.ready, self._failed_starts = True, 0
      return
    assert worker.item is not None
    if answer.error:
      self.errors, self.last_error, self._told = self.errors + 1, answer.error, False
    verdicts[worker.item] = RAISED if answer.error else Verdict(answer.reward, answer.parts)
    worker.item, worker.served = None, worker.served + 1
    if worker.served >= self._items_per_worker or answer.bytes > self._bytes // 2:
      self._remove(worker)

  def _give_up(self, worker: _Worker, verdicts: list[Verdict], verdict: Verdict) -> None:
    """Ends a worker that hangs or died; the item that it had gets no verdict."""
    self._remove(worker)
    if not worker.ready:
      self._failed_starts += 1
      if self._failed_starts >= MOST_FAILED_STARTS:
        raise ValueError(f"a worker for {self._verifier} did not start: call it once with task.workers=0 to see why")
    elif worker.item is not None:
      verdicts[worker.item] = verdict
      self.timeouts += verdict is TIMED_OUT
      self.crashes += verdict is not TIMED_OUT

  def _remove(self, worker: _Worker) -> None:
    self._workers.remove(worker)
    worker.kill()

  def notes(self) -> list[str]:
    """A line on what the verifier raised last, if it has raised since the last call."""
    told, self._told = self._told, True
    return [] if told else [f"{self._verifier} has raised {self.errors} times, last: {self.last_error}"]

  def close(self) -> None:
    """Ends the workers; a later call starts new ones."""
    _kill_all(self._workers)


def _kill_all(workers: list[_Worker]) -> None:
  while workers:
    workers.pop().kill()
