"""A worker that holds live episodes of an environment in Python. Imports no JAX.

One child of the process holds all its episodes. A call that takes too long or crashes ends the child and its episodes;
their owner restarts them from their records.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.datasets import entries
from rl_jax.tasks.environments.text import Host
from rl_jax.tasks.verifiers import wire
from rl_jax.tasks.verifiers.worker import POOL_HAS_GONE, Clock, limit, supervise

FIELD = "task.environment"


def main(connection_fd: int, lifeline_fd: int = -1, jobs_fd: int = -1) -> int:
  """Serve the owner at the other end of a socket until it goes away; see `verifiers.worker.supervise`."""
  load = lambda order: scoring.load(order["environment"], field=FIELD, kind="Class")
  return supervise(connection_fd, lifeline_fd, jobs_fd, load=load, serve=_serve)


def _serve(connection: socket.socket, environment: Any, order: dict[str, Any], busy: memoryview) -> int:
  """Answer jobs until the owner goes away; return the exit status."""
  limit(order["memory_bytes"])

  @contextlib.contextmanager
  def clock() -> Iterator[None]:
    running = Clock(order["seconds"])
    try:
      yield
    finally:
      running.stop()

  host = Host(environment, entries.loads(order["arguments"]), clock)
  try:
    while True:
      item, job = wire.receive(connection)
      busy[0] = item
      answer = host.answer(entries.loads(job))
      wire.send(connection, {"item": item, "answer": json.dumps(answer)})
      busy[0] = 0
  except wire.Broken:
    return POOL_HAS_GONE
