"""Worker processes that hold live episodes. Each call has a deadline; a worker that hangs or dies is replaced.

The verifiers' pool gives a response to any idle worker; here, a job goes to the worker that holds its episode.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing.connection
import socket
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks.datasets import entries
from rl_jax.tasks.verifiers import confinement, processes, wire
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation.execution import STARVED

_MODULE = "rl_jax.tasks.environments.worker"
START_SECONDS = 120.0
"""Time that a worker may take to start and import its environment."""
SEND_SECONDS = 60.0
MOST_FAILED_STARTS = 3
TIME, CRASH = "time", "crash"
"""Reasons why a job has ended its worker: values of `ended` in its answer."""

Job = tuple[int, Mapping[str, Any]]
"""(index of a worker, argument of `text.Host.answer`)."""


class Workers:
  """Processes that answer jobs.

  Args:
    environment: 'package.module:Class', see `text.TextEnvironment`.
    arguments: its keyword arguments, plain data.
    count: number of processes.
    seconds: largest CPU time of one call. A call that sleeps is ended after several times as long by the clock.
    isolated: whether workers are confined: no network, a read-only view of Python's folders, a user of their own.
    megabytes: memory that a process may allocate.

  Raises: CannotVerify: this machine cannot confine workers, or they cannot start.
  """

  def __init__(
    self,
    environment: str,
    arguments: Mapping[str, Any],
    *,
    count: int,
    seconds: float,
    isolated: bool = True,
    megabytes: int = 4096,
  ):
    if isolated:
      confinement.check()
    self._order = {
      "environment": environment,
      "arguments": entries.dumps(dict(arguments)),
      "seconds": seconds,
      "memory_bytes": megabytes * 2**20,
    }
    self._seconds, self._isolated = seconds, isolated
    self._workers: list[_Worker | None] = [None] * count
    self._failed_starts = 0
    self._finish = weakref.finalize(self, _end_all, self._workers)

  def __call__(self, jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Answers in the order of the jobs; {"ended": TIME or CRASH} for a job that has ended its worker."""
    answers: list[dict[str, Any]] = [{}] * len(jobs)
    waiting: list[deque[int]] = [deque() for _ in self._workers]
    for number, (index, _) in enumerate(jobs):
      waiting[index].append(number)
    try:
      while True:
        for index, queue in enumerate(waiting):
          self._give(index, queue, jobs)
        busy = [worker for worker in self._workers if worker is not None and not worker.idle]
        if not busy and not any(waiting):
          return answers
        if not busy:  # an idle worker died, and is started again
          continue
        until = min(worker.deadline for worker in busy)
        connections = [worker.connection for worker in busy]
        readable = multiprocessing.connection.wait(connections, max(0.0, until - time.monotonic()))
        for worker in busy:
          if worker.connection in readable:
            self._take(worker, waiting, answers)
          elif time.monotonic() >= worker.deadline:
            self._lost(worker, waiting, answers, TIME)
    finally:  # after an interrupted call, its answer would be taken for the answer to another job
      for worker in [worker for worker in self._workers if worker is not None and worker.job is not None]:
        self._remove(worker)

  def _give(self, index: int, queue: deque[int], jobs: Sequence[Job]) -> None:
    """Give a worker its next job, if it is ready for one; start the worker if there is none."""
    if not queue:
      return
    worker = self._workers[index]
    if worker is None:
      worker = self._workers[index] = _Worker(self._order, isolated=self._isolated)
    if worker.ready and worker.job is None:
      number = queue.popleft()
      calls = 1 + len(jobs[number][1]["actions"])
      try:
        worker.give(number, jobs[number][1], calls * (STARVED * self._seconds + SEND_SECONDS))
      except wire.Broken:  # it died while idle
        queue.appendleft(number)
        self._remove(worker)

  def _take(self, worker: _Worker, waiting: list[deque[int]], answers: list[dict[str, Any]]) -> None:
    """Take the messages that a worker sent."""
    try:
      for message in worker.receive():
        if "ready" in message:
          worker.ready, self._failed_starts = True, 0
        elif message.get("fatal"):
          self._remove(worker)
          raise CannotVerify(str(message["fatal"] if message["fatal"] is not True else message.get("error")))
        elif worker.job is not None and message.get("item") == worker.given:
          number, worker.job = worker.job, None
          ended = {"ended": TIME if message.get("ended") == "time" else CRASH}
          answers[number] = json.loads(message["answer"]) if "answer" in message else ended
          if "ended" in message and not self._isolated:
            self._remove(worker)
    except (wire.Broken, TypeError, ValueError) as error:
      if isinstance(error, CannotVerify):
        raise
      self._lost(worker, waiting, answers, CRASH)

  def _lost(self, worker: _Worker, waiting: list[deque[int]], answers: list[dict[str, Any]], reason: str) -> None:
    """End a worker and its current job."""
    if worker.job is not None:
      answers[worker.job] = {"ended": reason}
    self._remove(worker)
    if not worker.ready:
      self._failed_starts += 1
      if self._failed_starts >= MOST_FAILED_STARTS:
        name = self._order["environment"]
        raise CannotVerify(f"a worker for {name} did not start: run with task.workers=0 to see why")

  def _remove(self, worker: _Worker) -> None:
    self._workers[self._workers.index(worker)] = None
    worker.end()

  def close(self) -> None:
    """End the workers and their episodes; a later call starts new ones."""
    _end_all(self._workers)


class _Worker:
  """One worker and its current job."""

  def __init__(self, order: Mapping[str, Any], *, isolated: bool):
    ours, theirs = socket.socketpair()
    with theirs:
      self._process = processes.start(_MODULE, theirs.fileno(), isolated=isolated)
    ours.settimeout(SEND_SECONDS)
    self.connection = ours
    self._inbox = wire.Inbox(ours)
    self.ready = False
    self.job: int | None = None
    self.given = 0  # number of jobs given so far, which numbers them
    self.deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(wire.Broken):  # a worker that cannot start is noticed later
      wire.send(ours, dict(order))

  @property
  def idle(self) -> bool:
    return self.ready and self.job is None

  def give(self, number: int, job: Mapping[str, Any], seconds: float) -> None:
    """Send a job. Raises: wire.Broken: the worker has died."""
    wire.send(self.connection, [self.given + 1, entries.dumps(dict(job))])
    self.given += 1
    self.job, self.deadline = number, time.monotonic() + seconds

  def receive(self) -> list[dict[str, Any]]:
    """Messages that have arrived. Raises: wire.Broken: the worker has died, or sent something else."""
    messages = self._inbox.read()
    if not all(isinstance(message, dict) for message in messages):
      raise wire.Broken("no answer")
    return messages

  def end(self) -> None:
    """End the worker and all processes that it has started."""
    self._process.close()
    self.connection.close()


def _end_all(workers: list[_Worker | None]) -> None:
  for index, worker in enumerate(workers):
    if worker is not None:
      workers[index] = None
      worker.end()
