"""A worker process of the pool: it scores one response after the other. Imports no JAX."""

from __future__ import annotations

import fcntl
import math
import os
import resource
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify

FAILURES = (
  ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, MemoryError, OSError, RuntimeError,
  SyntaxError, TypeError, ValueError,
)  # fmt: skip
"""What a verifier may raise and the worker outlive; anything else ends the worker, which is replaced."""
LONGEST_LINE = 500


class Answer(NamedTuple):
  """What a worker sends: first of its start, then of each response.

  Attributes:
    reward, parts: the verdict.
    error: why there is no verdict; "" if nothing failed.
    fatal: no response can be scored.
    bytes: memory that the worker holds.
  """

  reward: float | None = None
  parts: Mapping[str, float] = {}
  error: str = ""
  fatal: bool = False
  bytes: int = 0


def main(connection_fd: int, lifeline_fd: int) -> None:
  """Serves the pool at the other end of the socket `connection_fd` until it goes away.

  Args:
    lifeline_fd: pipe that the pool's process holds open; its end ends this process group, even in an endless loop.
  """
  fcntl.fcntl(lifeline_fd, fcntl.F_SETOWN, -os.getpgrp())
  fcntl.fcntl(lifeline_fd, fcntl.F_SETFL, os.O_ASYNC | os.O_NONBLOCK)  # the kernel sends SIGIO, which nothing catches
  signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the pool's to handle
  connection: Connection = Connection(connection_fd)
  try:
    verifier, arguments, most_bytes = connection.recv()
    resource.setrlimit(resource.RLIMIT_DATA, (most_bytes, most_bytes))
    try:
      verify = scoring.load(verifier)
    except FAILURES as error:
      connection.send(Answer(error=_line(error), fatal=True))
      return
    connection.send(Answer())
    while True:
      response, entry = connection.recv()
      connection.send(_answer(verify, response, entry, arguments))
  except (EOFError, BrokenPipeError, ConnectionResetError):
    return  # the pool has gone


def _answer(
  verify: Callable[..., Verdict], response: str, entry: dict[str, Any], arguments: Mapping[str, Any]
) -> Answer:
  try:
    verdict = verify(response, entry, **arguments)
    reward = None if verdict.reward is None else float(verdict.reward)
    parts = {str(name): float(value) for name, value in verdict.parts.items()}
    if reward is not None and not math.isfinite(reward):
      raise ValueError(f"the reward is {reward}")
  except CannotVerify as error:
    return Answer(error=str(error), fatal=True)
  except FAILURES as error:
    return Answer(error=_line(error), bytes=_resident_bytes())
  return Answer(reward, parts, bytes=_resident_bytes())


def _line(error: BaseException) -> str:
  return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_LINE]


def _resident_bytes() -> int:
  """Memory held now; 0 where the system does not say. The peak that getrusage gives begins with the parent's."""
  if not os.path.exists("/proc/self/statm"):
    return 0
  with open("/proc/self/statm") as stream:
    return int(stream.read().split()[1]) * resource.getpagesize()
