"""Sandbox that runs a Python program against unit tests in an isolated process.

Each test runs in its own interpreter without packages, in namespaces of its own: no network, no other processes, no
files but Python's (read-only) and an empty /tmp, no environment, a user without rights, and limits on time, memory,
files, processes and threads. Expected values stay outside: the right output of an input/output test, and the literals
that assertions compare with. Other assertions run in the program's interpreter, where a program can forge them; the
outcome marks these.

A program that is refused memory, a file, a process or a socket sees an exception, and its test fails if it does not
handle it. A test has no verdict of its own (None) if the program had to be ended: by time, by output, or by a signal.
"""

from __future__ import annotations

import ast
import functools
import math
import os
import signal
import socket
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers import assertions, proofs, service, wire
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.isolation import seccomp
from rl_jax.tasks.verifiers.isolation.execution import Execution, Job
from rl_jax.tasks.verifiers.isolation.launch import Warden, own_warden

SMALLEST_PROCESS = 32 * 2**20
"""Memory without which an interpreter does not start."""


class Limits(NamedTuple):
  """Limits of a program's resources.

  Attributes:
    seconds: CPU time of one test. It may sleep some times as long.
    total_seconds: time of all tests of a program; tests that do not begin in time have no verdict.
    memory_bytes: memory of all its processes together, divided between them on a machine without cgroups.
    file_bytes: size of one file, and of all files in /tmp.
    processes: number of concurrent processes; 1: threads only.
    threads: number of concurrent threads of all processes.
    output_bytes: largest output of one test.
    shown_bytes: part of the output that an outcome keeps.
  """

  seconds: float = 2.0
  total_seconds: float = 8.0
  memory_bytes: int = 512 * 2**20
  file_bytes: int = 16 * 2**20
  processes: int = 1
  threads: int = 16
  output_bytes: int = 2**20
  shown_bytes: int = 2000


DEFAULTS = Limits()


class Outcome(NamedTuple):
  """Outcome of a program in one test.

  Attributes:
    passed: None where there is no verdict.
    ended: "finished", "failed" (an exception or another exit status), why it was ended: "time", "output", "killed", or
      "refused": the machine could not run it.
    output: the beginning of what it printed; where the test is an assertion, errors too, and why it has not passed.
    inside: whether a part of the test ran in the program's interpreter.
  """

  passed: bool | None
  ended: str
  output: str
  inside: bool = False


Test = str | Mapping[str, str]
"""Python code that raises if the program before it is wrong, or {"input": stdin, "output": what must be printed}."""


@functools.cache
def isolation() -> tuple[str, ...]:
  """Return the proven properties of isolation on this machine, tested once per process from inside a sandbox.

  Raises: CannotVerify: a property is missing.
  """
  refuse = "programs cannot be scored safely here: {}, or name a `service` that runs them elsewhere"
  if not sys.platform.startswith("linux"):
    raise CannotVerify(refuse.format(f"the sandbox needs Linux 5.12 or newer, this is {sys.platform}"))
  if os.uname().machine not in seccomp.DENIED:
    raise CannotVerify(refuse.format(f"{os.uname().machine} is none of {', '.join(seccomp.DENIED)}"))
  for name, test in zip(proofs.PROBES, proofs.tests(), strict=True):
    outcome = _outcome("", test, Limits(seconds=10.0, total_seconds=60.0), 10.0, "")[0]
    if outcome.ended == "refused":
      raise CannotVerify(refuse.format(outcome.output))
    if not outcome.passed:
      raise CannotVerify(refuse.format(f"no proof of {name!r} ({' '.join(outcome.output.split())[-200:] or outcome})"))
  return tuple(proofs.PROBES)


def run(
  program: str, tests: Sequence[Test], limits: Limits = DEFAULTS, *, address: str = "", until_failure: bool = False
) -> list[Outcome]:
  """Return the outcomes of a program's tests, in order. Each test starts the program anew.

  Args:
    address: of a service that runs the program instead of this machine (see `service`).
    until_failure: leave the tests after one that has not passed out; then there are fewer outcomes than tests.

  Raises:
    CannotVerify: there is no effective isolation here, or a limit makes no sense.
    ValueError: a test makes no sense.
  """
  checked(limits)
  for test in tests:
    check_test(test)
  if not address:
    isolation()
  outcomes: list[Outcome] = []
  left = limits.total_seconds
  for test in tests:
    if left <= 0:
      outcomes.append(Outcome(None, "time", ""))
      continue
    outcome, cpu_seconds = _outcome(program, test, limits, min(limits.seconds, left), address)
    outcomes.append(outcome)
    # One that has slept has used nothing: it is charged with all that it might have used.
    left -= min(limits.seconds, left) if outcome.ended == "time" else cpu_seconds
    if until_failure and not outcome.passed and outcome.ended != "refused":
      break
  return outcomes


def execute(program: str, limits: Limits = DEFAULTS, *, address: str = "") -> Outcome:
  """Return the outcome of a program that runs once as a script without input; `passed` is True where it has finished.

  The output is whole, errors included: a buffer of standard output may come after them.

  Raises: CannotVerify: there is no effective isolation here, or a limit makes no sense.
  """
  checked(limits)
  if not address:
    isolation()
  answer = _execute(_job(program, limits, limits.seconds, name="__main__", steps=[]), address)
  if "refused" in answer:
    return Outcome(None, "refused", str(answer["refused"]))
  execution = Execution(**answer)
  passed = {"finished": True, "failed": False}.get(execution.ended)
  return Outcome(passed, execution.ended, execution.output)


def _job(program: str, limits: Limits, seconds: float, **fields: Any) -> Job:
  of_limits = {name: getattr(limits, name) for name in Job._fields if name in limits._fields and name != "seconds"}
  return Job(program=program, seconds=seconds, **{"stdin": "", **of_limits, **fields})


def _outcome(program: str, test: Test, limits: Limits, seconds: float, address: str) -> tuple[Outcome, float]:
  """The outcome of one test, and the CPU time that it took."""
  parts = assertions.split(test) if isinstance(test, str) else None
  job = _job(
    program,
    limits,
    seconds,
    name="__main__" if parts is None else "program",
    stdin=test["input"] if isinstance(test, Mapping) else "",
    steps=None if parts is None else list(parts.steps),
  )
  answer = _execute(job, address)
  if "refused" in answer:
    return Outcome(None, "refused", str(answer["refused"])), 0.0
  execution = Execution(**answer)
  output, inside = execution.output[: limits.shown_bytes], parts is not None and parts.inside
  if execution.ended not in ("finished", "failed"):
    return Outcome(None, execution.ended, output, inside), execution.cpu_seconds
  if isinstance(test, Mapping):
    right = execution.ended == "finished" and _lines(execution.output) == _lines(test["output"])
    return Outcome(right, execution.ended, output), execution.cpu_seconds
  assert parts is not None
  problem = assertions.failure(parts, execution.frames, execution.proven)
  if problem or execution.ended == "failed":
    output = f"{output}{problem}"[-limits.shown_bytes :]
    return Outcome(False, "failed", output, inside), execution.cpu_seconds
  return Outcome(True, "finished", output, inside), execution.cpu_seconds


def _lines(text: str) -> list[bytes]:
  return [line.rstrip() for line in text.encode(errors="surrogatepass").rstrip().splitlines()]


def check_test(test: Any) -> None:
  """Raises: ValueError: it is no `Test`, or one that a program passes by doing nothing."""
  if isinstance(test, Mapping) and all(isinstance(test.get(key), str) for key in ("input", "output")):
    if not test["output"].strip():
      raise ValueError(f"a unit test whose output is blank is passed by silence: {repr(test)[:80]}")
  elif not isinstance(test, str):
    raise ValueError(f"a unit test is Python code or {{'input': text, 'output': text}}, got {repr(test)[:80]}")
  elif not test.strip():
    raise ValueError("a unit test without code is passed by any program")


def check_useful(test: Any) -> None:
  """Raises: ValueError: it is no `Test`, or one that no program passes, or all do."""
  check_test(test)
  if not isinstance(test, str):
    return
  try:
    statements = ast.parse(test).body
  except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
    raise ValueError(f"a unit test that is no Python is passed by no program ({error}): {test[:80]!r}") from error
  if not any(map(_can_fail, statements)):
    raise ValueError(f"a unit test that asserts and calls nothing is passed by any program: {test[:80]!r}")


def _can_fail(statement: ast.stmt) -> bool:
  """Return whether a statement asserts something about a name, raises or calls; a mere definition never runs."""
  if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.Import | ast.ImportFrom):
    return False
  if isinstance(statement, ast.ClassDef):
    return any(map(_can_fail, statement.body))
  if isinstance(statement, ast.Assert):
    return any(isinstance(node, ast.Name) for node in ast.walk(statement.test))
  return any(isinstance(node, ast.Assert | ast.Raise | ast.Call) for node in ast.walk(statement))


def limits_of(fields: Mapping[str, Any], where: str) -> Limits:
  """Limits with some fields of a config. Raises: CannotVerify: one is none, or no finite number.

  Args:
    where: what the fields belong to, for messages.
  """
  if not hasattr(fields, "items"):
    raise CannotVerify(f"{where}: limits is {fields!r}, want names and numbers")
  unknown = set(fields) - set(Limits._fields)
  if unknown:
    raise CannotVerify(f"{where}: unknown limits {sorted(unknown)} (known: {', '.join(Limits._fields)})")
  for name, value in fields.items():
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
      raise CannotVerify(f"{where}: limits.{name} is {value!r}, want a finite number")
  integers = {name: int(value) for name, value in fields.items() if not name.endswith("seconds")}
  return DEFAULTS._replace(**{**fields, **integers})


def checked(limits: Limits) -> Limits:
  """The limits. Raises: CannotVerify: one makes no sense, or two do not fit one another."""
  wrong = [name for name, limit in limits._asdict().items() if not 0 < limit < 2**62]
  if wrong:
    raise CannotVerify(f"limits of a program: {', '.join(wrong)} must be positive, got {limits}")
  if limits.seconds > limits.total_seconds:
    raise CannotVerify(
      f"limits of a program: seconds ({limits.seconds:g}) of one test are more than total_seconds "
      f"({limits.total_seconds:g}) of all: raise the second or lower the first"
    )
  if limits.memory_bytes < limits.processes * SMALLEST_PROCESS:
    raise CannotVerify(
      f"limits of a program: memory_bytes ({limits.memory_bytes}) are less than {SMALLEST_PROCESS} for each of "
      f"{limits.processes} processes: raise the first or lower processes"
    )
  return limits


class _Wardens:
  """The warden that runs this process's programs: that of its worker, or one of its own, made when it is needed."""

  def __init__(self) -> None:
    self.given: socket.socket | None = None
    self._own: tuple[Warden, socket.socket] | None = None
    self._lock = threading.Lock()

  def ask(self, asking: socket.socket) -> None:
    """Hand an end of a socket pair over. Raises: OSError: the warden has gone."""
    if self.given is not None:
      socket.send_fds(self.given, [b"program"], [asking.fileno()])
      return
    with self._lock:
      if self._own is not None and self._own[0].process.poll() is not None:
        self._own[0].close()
        self._own[1].close()
        self._own = None
      self._own = self._own or own_warden()
      socket.send_fds(self._own[1], [b"program"], [asking.fileno()])


_wardens = _Wardens()


def use_warden(jobs_fd: int) -> None:
  """Let the warden at the other end of a datagram socket run this process's programs."""
  _wardens.given = socket.socket(fileno=jobs_fd)


def _execute(job: Job, address: str) -> dict[str, Any]:
  """An `Execution` as a dictionary, or {"refused": a line}."""
  if address and _wardens.given is None:
    return service.execute(address, job)
  ours, theirs = socket.socketpair()
  pause = signal.setitimer(signal.ITIMER_REAL, 0.0)[0]  # a program's time is not its verifier's
  try:
    with ours:
      with theirs:
        _wardens.ask(theirs)
      wire.send(ours, {**job._asdict(), "service": address})
      return wire.receive(ours)
  except (OSError, wire.Broken) as error:
    return {"refused": str(error)}
  finally:
    signal.setitimer(signal.ITIMER_REAL, pause)
