"""Runs a Python program against unit tests in a process of its own that can reach nothing and outlive nothing.

Each test runs in its own interpreter without packages, in namespaces of its own: no network, no other processes, no
files but Python's and the system's libraries (read-only) and an empty /tmp, no environment, a user without rights, and
limits on time, memory, files and processes. The right output of an input/output test stays outside. An assertion runs
in the program's interpreter, so a program written to fool its assertions can; input/output tests judge from outside.

A program that is refused memory, a file, a process or a socket sees an exception, and its test fails if it does not
handle it. A test has no verdict (None) only if the program had to be ended: by time, by output, or by a signal.
"""

from __future__ import annotations

import functools
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers import warden
from rl_jax.tasks.verifiers.errors import CannotVerify

START_SECONDS = 20.0
"""What making the namespaces may take on a busy machine, beyond the time of the tests."""


class Limits(NamedTuple):
  """What a program may use.

  Attributes:
    seconds: of one test, by the clock and of one CPU.
    total_seconds: of all tests of a program; those that do not begin in time have no verdict.
    memory_bytes: address space of one process.
    file_bytes: of one file, and of all in /tmp together.
    processes: processes and threads at once.
    output_bytes: printed in one test.
    shown_bytes: of the output that an outcome keeps.
  """

  seconds: float = 2.0
  total_seconds: float = 8.0
  memory_bytes: int = 512 * 2**20
  file_bytes: int = 16 * 2**20
  processes: int = 8
  output_bytes: int = 2**20
  shown_bytes: int = 2000


DEFAULTS = Limits()


class Outcome(NamedTuple):
  """How a program did in one test.

  Attributes:
    passed: None where there is no verdict.
    ended: "finished", "failed" (an exception or another exit status), or why it was ended: "time", "output", "killed".
    output: the beginning of what it printed; errors too where the test is an assertion.
  """

  passed: bool | None
  ended: str
  output: str


Test = str | Mapping[str, str]
"""Python code that raises if the program before it is wrong, or {"input": stdin, "output": what must be printed}."""

_PROBES = {
  "a user without rights": "import os\nassert os.getuid() != 0 and os.geteuid() != 0",
  "no network": """
import socket
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
  try:
    socket.socket(family)
  except OSError:
    continue
  raise AssertionError(family)""",
  "no files of the host": f"""
import os
assert set(os.listdir("/")) <= {{"dev", "etc", "lib", "lib64", "nix", "tmp", "usr", {sys.base_prefix.split("/")[1]!r}}}
try:
  open("/usr/probe", "w")
except OSError:
  pass
else:
  raise AssertionError("/usr can be written")""",
  "no environment": "import os\nassert set(os.environ) <= {'PYTHONHASHSEED', 'LC_CTYPE'}",
  "no other processes": """
import os
try:
  os.kill(1, 9)
except OSError:
  pass
assert os.getppid() == 1""",
  "few processes": """
import os, signal
for _ in range(100):
  try:
    if os.fork() == 0:
      signal.pause()
  except BlockingIOError:
    break
else:
  raise AssertionError("100 processes")""",
  "little memory": """
try:
  bytes(2**30)
except MemoryError:
  pass
else:
  raise AssertionError("1 GiB")""",
}
"""What a sandbox must hold, and the test that shows it from inside."""


@functools.cache
def isolation() -> tuple[str, ...]:
  """What isolates a program here, as tests from inside a sandbox have shown, once per process.

  Raises: CannotVerify: one of it is not there.
  """
  refuse = "programs cannot be scored safely here: {}; allow user namespaces or run as root with CAP_SYS_ADMIN"
  if not sys.platform.startswith("linux"):
    raise CannotVerify(f"programs cannot be scored safely on {sys.platform}: the sandbox needs Linux 5.12 or newer")
  machine = os.uname().machine
  if machine not in warden.DENIED:
    raise CannotVerify(f"programs cannot be scored safely on {machine}: want one of {', '.join(warden.DENIED)}")
  limits = Limits(seconds=10.0, total_seconds=30.0)
  answer = _answer("", list(_PROBES.values()), limits)
  if "outcomes" not in answer:
    raise CannotVerify(refuse.format(answer["refused"]))
  for name, (passed, ended, output) in zip(_PROBES, answer["outcomes"], strict=True):
    if not passed:
      raise CannotVerify(refuse.format(f"no proof of {name!r} ({' '.join(output.split())[-200:] or ended})"))
  return tuple(_PROBES)


def run(program: str, tests: Sequence[Test], limits: Limits = DEFAULTS) -> list[Outcome]:
  """The outcomes of a program's tests, in order. Each test starts the program anew.

  Raises:
    CannotVerify: there is no effective isolation here, or a limit makes no sense.
    ValueError: a test makes no sense.
  """
  isolation()
  answer = _answer(program, [_plain(test) for test in tests], limits)
  if "refused" in answer:  # it could be made before, so this is a want of memory or processes for now
    return [Outcome(None, "killed", "")] * len(tests)
  return [Outcome(passed, ended, output) for passed, ended, output in answer["outcomes"]]


def _answer(program: str, tests: list[str | list[str]], limits: Limits) -> dict[str, Any]:
  """What the warden says: outcomes, or why there are none."""
  job = {**_checked(limits)._asdict(), "program": program, "tests": tests}
  job |= {"python": _python(), "folders": _folders(), "cpu_seconds": math.ceil(limits.seconds)}
  try:
    done = subprocess.run(
      [_python(), "-ISB", warden.__file__],
      input=json.dumps(job).encode(),
      capture_output=True,
      env={},
      cwd="/",
      timeout=limits.total_seconds + START_SECONDS,
      check=False,
    )
  except subprocess.TimeoutExpired:
    return {"refused": "it took too long"}
  if not done.stdout:
    return {"refused": " ".join(done.stderr.decode(errors="replace").split())[-200:] or "it was killed"}
  return json.loads(done.stdout)


def _plain(test: Test) -> str | list[str]:
  if isinstance(test, str):
    return test
  if isinstance(test, Mapping) and all(isinstance(test.get(key), str) for key in ("input", "output")):
    return [test["input"], test["output"]]
  raise ValueError(f"a unit test is Python code or {{'input': text, 'output': text}}, got {repr(test)[:80]}")


def _checked(limits: Limits) -> Limits:
  wrong = [name for name, limit in limits._asdict().items() if not 0 < limit < 2**62]
  if wrong:
    raise CannotVerify(f"limits of a program: {', '.join(wrong)} must be positive, got {limits}")
  return limits


@functools.cache
def _python() -> str:
  """The interpreter without a virtual environment."""
  own = os.path.join(sys.base_prefix, "bin", f"python{sys.version_info.major}.{sys.version_info.minor}")
  return os.path.realpath(own if os.path.exists(own) else sys.executable)


@functools.cache
def _folders() -> list[str]:
  """What Python needs of the host's files, none inside another."""
  wanted = ["/usr", "/lib", "/lib64", "/nix/store", "/etc/ld.so.cache", os.path.realpath(sys.base_prefix)]
  wanted = [path for path in dict.fromkeys(wanted) if os.path.exists(path)]
  return [path for path in wanted if not any(path.startswith(f"{other}/") for other in wanted)]
