"""A pool of worker processes that score responses, each with a deadline; what hangs or crashes gets no verdict."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.connection
import os
import signal
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict

START_SECONDS = 120.0
"""What a worker may take to start and import its verifier."""
TIMED_OUT = Verdict(None, {"timed_out": 1.0})
NO_VERDICT = Verdict(None)


def _work(connection: Any, verifier: str, arguments: Mapping[str, Any]) -> None:
  """A worker's life: one response after the other, until the pool goes away."""
  os.setsid()  # so that what a verifier starts can be killed with it
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to handle
  verify = scoring.load(verifier)
  connection.send(None)
  with contextlib.suppress(EOFError, BrokenPipeError):
    while True:
      response, entry = connection.recv()
      try:
        verdict = verify(response, entry, **arguments)
      except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError, RecursionError, RuntimeError):
        verdict = NO_VERDICT  # a verifier that fails has not said that the response is wrong
      connection.send(verdict)


class _Worker:
  """One process and what it works on."""

  def __init__(self, verifier: str, arguments: Mapping[str, Any]):
    context = multiprocessing.get_context("spawn")  # a fork of a process with JAX's threads may hang
    self.connection, theirs = context.Pipe()
    self.process = context.Process(target=_work, args=(theirs, verifier, dict(arguments)), daemon=True)
    self.process.start()
    theirs.close()
    self.ready = False
    self.item: int | None = None
    self.deadline = time.monotonic() + START_SECONDS

  def give(self, item: int, work: tuple[str, dict[str, Any]], seconds: float) -> None:
    """Sends a response to score."""
    self.connection.send(work)
    self.item, self.deadline = item, time.monotonic() + seconds

  def kill(self) -> None:
    """Ends the process and all that it has started."""
    assert self.process.pid is not None
    with contextlib.suppress(ProcessLookupError, PermissionError):
      os.killpg(self.process.pid, signal.SIGKILL)
    self.process.kill()
    self.process.join()
    self.connection.close()


class Pool:
  """A scorer with `workers` processes that know no accelerator; one that passes its deadline or dies is replaced.

  Attributes:
    timeouts, crashes: responses without a verdict so far, by reason.

  Args:
    verifier: 'package.module:function', see `rl_jax.tasks.scoring`.
    arguments: keyword arguments of it.
    seconds: deadline of one response.

  Raises: ValueError: the workers cannot start.
  """

  def __init__(self, verifier: str, arguments: Mapping[str, Any], *, workers: int, seconds: float):
    self._verifier, self._arguments, self._count, self._seconds = verifier, arguments, workers, seconds
    self._workers: list[_Worker] = []
    self.timeouts = self.crashes = 0

  def __call__(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Verdict]:
    """Verdicts in the order of the items."""
    verdicts: list[Verdict] = [NO_VERDICT] * len(items)
    waiting, open_items = list(reversed(range(len(items)))), len(items)
    while len(self._workers) < min(self._count, len(items)):
      self._workers.append(_Worker(self._verifier, self._arguments))
    while open_items:
      for worker in self._workers:
        if worker.ready and worker.item is None and waiting:
          item = waiting.pop()
          worker.give(item, items[item], self._seconds)
      busy = [worker for worker in self._workers if not worker.ready or worker.item is not None]
      until = min(worker.deadline for worker in busy)
      answered = multiprocessing.connection.wait(
        [worker.connection for worker in busy], max(0.0, until - time.monotonic())
      )
      for worker in busy:
        if worker.connection in answered:
          open_items -= self._answer(worker, verdicts)
        elif time.monotonic() >= worker.deadline:
          open_items -= self._give_up(worker, verdicts, TIMED_OUT)
    return verdicts

  def _answer(self, worker: _Worker, verdicts: list[Verdict]) -> int:
    """Takes what a worker sent; returns the number of items that this ends."""
    try:
      verdict = worker.connection.recv()
    except (EOFError, ConnectionResetError):
      return self._give_up(worker, verdicts, NO_VERDICT)
    if not worker.ready:
      worker.ready = True
      return 0
    assert worker.item is not None
    verdicts[worker.item], worker.item = verdict, None
    return 1

  def _give_up(self, worker: _Worker, verdicts: list[Verdict], verdict: Verdict) -> int:
    """Replaces a worker that hangs or died."""
    worker.kill()
    if not worker.ready:
      raise ValueError(f"a worker for {self._verifier} did not start: call it once with task.workers=0 to see why")
    self._workers[self._workers.index(worker)] = _Worker(self._verifier, self._arguments)
    if worker.item is None:
      return 0
    verdicts[worker.item] = verdict
    self.timeouts += verdict is TIMED_OUT
    self.crashes += verdict is not TIMED_OUT
    return 1

  def close(self) -> None:
    """Ends the workers."""
    while self._workers:
      self._workers.pop().kill()
