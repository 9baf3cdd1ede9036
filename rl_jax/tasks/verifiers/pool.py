"""A pool of isolated worker processes that score responses, each with a deadline.

A response that crashes its verifier (by time, memory or a signal) has failed like a wrong one: if it were left out, a
policy could learn to write it. Faults of the machine give no verdict.
"""

from __future__ import annotations

import contextlib
import multiprocessing.connection
import socket
import threading
import time
import weakref
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks.datasets import entries
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import processes, wire
from rl_jax.tasks.verifiers.attempt import Tally
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation.execution import STARVED

_MODULE = "rl_jax.tasks.verifiers.worker"
START_SECONDS = 120.0
"""Time limit for a worker to start and import its verifier."""
SEND_SECONDS = 60.0
MOST_FAILED_STARTS = 3
MOST_ATTEMPTS = 2
"""Number of worker deaths after which a response is to blame; a single one may be the machine's fault."""
RAISED = Verdict(None, {"error": 1.0})
Item = tuple[str, dict[str, Any]]


class _Worker:
  """One worker and its current item."""

  def __init__(self, verifier: str, order: Mapping[str, Any], isolated: bool):
    ours, theirs = socket.socketpair()
    with theirs:
      self._process = processes.start(_MODULE, theirs.fileno(), isolated=isolated)
    ours.settimeout(SEND_SECONDS)
    self.connection, self.isolated = ours, isolated
    self._inbox = wire.Inbox(ours)
    self.ready = False
    self.item: int | None = None
    self.given = 0  # responses, which numbers them: an answer to an earlier one is none
    self.deadline = time.monotonic() + START_SECONDS
    with contextlib.suppress(wire.Broken):  # then it cannot start, which is noticed later
      wire.send(ours, {"verifier": verifier, **order})

  def give(self, item: int, work: Item, seconds: float) -> None:
    """Send a response to score. Raises: wire.Broken: the worker has died."""
    response, entry = work
    wire.send(self.connection, [self.given + 1, response, entries.dumps(entry)])
    self.given += 1
    self.item, self.deadline = item, time.monotonic() + seconds

  def receive(self) -> list[dict[str, Any]]:
    """Messages received from the worker. Raises: wire.Broken: it has died."""
    messages = self._inbox.read()
    if not all(isinstance(message, dict) for message in messages):
      raise wire.Broken("no answer")
    return messages

  def kill(self) -> None:
    """End the worker and all processes that it has started."""
    self._process.close()
    self.connection.close()


class Pool:
  """A scorer with worker processes that know no accelerator; one that hangs or dies is replaced.

  It may be called from any thread, one call at a time. An interrupted call (Ctrl-C) leaves a pool that can be used.
  Workers end with close(), with the pool, and with this process, even if that is killed.

  Attributes:
    tally: counts of outcomes so far.

  Args:
    verifier: 'package.module:function', see `rl_jax.tasks.scoring`.
    arguments: keyword arguments of it, plain data.
    workers: number of processes.
    seconds: CPU time of one response. The clock ends one that sleeps some times as long.
    items_per_worker: responses after which a process is replaced, whatever its verifier has leaked.
    megabytes: memory that a process may allocate; one that holds half of it after a response is replaced.
    failed_reward: reward of a response that crashed its verifier; None: it is unscored.
    isolated: whether workers are confined: no network, a read-only view of Python's folders, a user of their own.

  Raises: CannotVerify: the workers cannot start, or the verifier can score no response.
  """

  def __init__(
    self,
    verifier: str,
    arguments: Mapping[str, Any],
    *,
    workers: int,
    seconds: float,
    items_per_worker: int = 1000,
    megabytes: int = 4096,
    failed_reward: float | None = 0.0,
    isolated: bool = True,
  ):
    self._verifier, self._count, self._isolated = verifier, workers, isolated
    self._order = {
      "arguments": entries.dumps(dict(arguments)),
      "memory_bytes": megabytes * 2**20,
      "seconds": seconds,
      "items": items_per_worker,
    }
    self._deadline = STARVED * seconds + SEND_SECONDS
    self._timed_out = Verdict(failed_reward, {"timed_out": 1.0})
    self._crashed = Verdict(failed_reward, {"crashed": 1.0})
    self._workers: list[_Worker] = []
    self._failed_starts = 0
    self._lock = threading.Lock()
    self._finish = weakref.finalize(self, _kill_all, self._workers)
    self.tally = Tally(verifier)

  def __call__(self, items: Sequence[Item]) -> list[Verdict]:
    """Verdicts in the order of the items."""
    with self._lock:
      verdicts: list[Verdict] = [RAISED] * len(items)
      try:
        self._score(items, verdicts)
      finally:
        for worker in [worker for worker in self._workers if worker.item is not None]:
          self._remove(worker)  # a call that was interrupted: the answer would be taken for that of another item
      return verdicts

  def _score(self, items: Sequence[Item], verdicts: list[Verdict]) -> None:
    waiting, attempts = deque(range(len(items))), [0] * len(items)
    while waiting or any(worker.item is not None for worker in self._workers):
      busy = sum(worker.item is not None for worker in self._workers)
      while len(self._workers) < min(self._count, busy + len(waiting)):
        self._workers.append(_Worker(self._verifier, self._order, self._isolated))
      for worker in [worker for worker in self._workers if worker.ready and worker.item is None]:
        self._give(worker, items, waiting)
      expected = [worker for worker in self._workers if not worker.ready or worker.item is not None]
      until = min((worker.deadline for worker in expected), default=0.0)
      connections = [worker.connection for worker in expected]
      answered = multiprocessing.connection.wait(connections, max(0.0, until - time.monotonic())) if expected else []
      for worker in expected:
        if worker.connection in answered:
          self._take(worker, verdicts, waiting, attempts)
        elif time.monotonic() >= worker.deadline:
          self._lost(worker, verdicts, Verdict(None, {"timed_out": 1.0}))

  def _give(self, worker: _Worker, items: Sequence[Item], waiting: deque[int]) -> None:
    if waiting:
      item = waiting.popleft()
      try:
        worker.give(item, items[item], self._deadline)
      except wire.Broken:  # it died while idle
        waiting.appendleft(item)
        self._remove(worker)

  def _take(self, worker: _Worker, verdicts: list[Verdict], waiting: deque[int], attempts: list[int]) -> None:
    """Take the messages that a worker sent."""
    try:
      messages = worker.receive()
      for message in messages:
        self._read(worker, message, verdicts, waiting, attempts)
    except wire.Broken:
      if worker.item is not None and self._again(worker.item, waiting, attempts):
        self._remove(worker)
      else:
        self._lost(worker, verdicts, Verdict(None, {"crashed": 1.0}))

  def _read(
    self, worker: _Worker, message: dict[str, Any], verdicts: list[Verdict], waiting: deque[int], attempts: list[int]
  ) -> None:
    """Take one message. Raises: wire.Broken: it is none of a worker's."""
    if "ready" in message:
      worker.ready, self._failed_starts = True, 0
    elif message.get("fatal"):
      self._remove(worker)
      line = str(message["fatal"] if message["fatal"] is not True else message["error"])
      raise CannotVerify(line if worker.ready or self._isolated and line.startswith("verifiers cannot")
                         else f"a worker for {self._verifier} did not start: {line}")  # fmt: skip
    elif worker.item is None or message.get("item") != worker.given:
      return
    elif "ended" in message:
      item, worker.item = worker.item, None
      if message["ended"] == "time":
        verdicts[item] = self.tally.judged(self._timed_out)
      elif not self._again(item, waiting, attempts):
        verdicts[item] = self.tally.judged(self._crashed)
      if not worker.isolated:
        self._remove(worker)
    else:
      verdicts[worker.item] = self._verdict(message)
      worker.item = None

  def _verdict(self, message: dict[str, Any]) -> Verdict:
    """The verdict that a worker sent. Raises: wire.Broken: it is none."""
    try:
      error, exhausted, reason = message["error"], message["exhausted"], str(message["reason"])
      reward = None if message["reward"] is None else float(message["reward"])
      parts = {str(name): float(value) for name, value in message["parts"].items()}
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
      raise wire.Broken("no verdict") from problem
    if exhausted:
      return self.tally.judged(self._crashed)
    if error:
      self.tally.raised(str(error))
      return RAISED
    return self.tally.judged(Verdict(reward, parts, reason))

  def _again(self, item: int, waiting: deque[int], attempts: list[int]) -> bool:
    """Return whether an item whose worker died is tried once more; if so, it is queued again."""
    attempts[item] += 1
    if attempts[item] < MOST_ATTEMPTS:
      waiting.appendleft(item)
      return True
    return False

  def _lost(self, worker: _Worker, verdicts: list[Verdict], verdict: Verdict) -> None:
    """End a worker lost to a machine fault; its item gets no verdict."""
    self._remove(worker)
    if not worker.ready:
      self._failed_starts += 1
      if self._failed_starts >= MOST_FAILED_STARTS:
        raise CannotVerify(f"a worker for {self._verifier} did not start: call it once with task.workers=0 to see why")
    elif worker.item is not None:
      verdicts[worker.item] = self.tally.judged(verdict)

  def _remove(self, worker: _Worker) -> None:
    self._workers.remove(worker)
    worker.kill()

  def notes(self) -> list[str]:
    """Lines on errors and failed responses since the last call."""
    return self.tally.notes()

  def close(self) -> None:
    """End the workers; a later call starts new ones."""
    _kill_all(self._workers)


def _kill_all(workers: list[_Worker]) -> None:
  while workers:
    workers.pop().kill()
