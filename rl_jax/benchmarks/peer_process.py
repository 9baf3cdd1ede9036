"""Peers of a benchmark: other packages in their own Python, which take turns with rl_jax.

A peer is a script of `peers/` and a Python with its packages. The script runs in its own process, outside this
repository, with the environment variables of the benchmark. Its first line of output describes it; each line of input,
a JSON request, gets one line as answer. Waiting threads of torch spin by default, which makes them several times slower
if other work shares the cores; OMP_WAIT_POLICY=PASSIVE lets them sleep.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax

from rl_jax.errors import UserError

SCRIPTS = Path(__file__).parent / "peers"

Ask = Callable[..., dict[str, Any]]
"""(**fields of the request) -> answer."""


def chosen(benchmark: str, given: Sequence[str], scripts: Mapping[str, str]) -> dict[str, str]:
  """Python of each peer by name, from the values of --peer: NAME=PYTHON, or PYTHON if there is only one peer.

  Raises: UserError: an unknown or repeated peer.

  >>> chosen("generate", ["/a=b/python"], {"transformers": "transformers_generate.py"})
  {'transformers': '/a=b/python'}
  """
  if given and not scripts:
    raise UserError(f"--peer={given[0]}: {benchmark} has no peers")
  pythons: dict[str, str] = {}
  for text in given:
    name, _, python = text.partition("=")
    if not name.isidentifier() or not python:  # a path without a name, which may contain "=" too
      name, python = (next(iter(scripts)), text) if len(scripts) == 1 else ("", text)
    if name not in scripts or not python:
      raise UserError(f"--peer={text}: write {' or '.join(f'--peer={known}=PYTHON' for known in scripts)}")
    if name in pythons:
      raise UserError(f"--peer={text}: {name} is given twice")
    pythons[name] = python
  return pythons


@contextlib.contextmanager
def conversation(name: str, script: str, python: str, *arguments: str) -> Iterator[tuple[str, Ask]]:
  """Context with a running peer: its description, and the function that sends a request.

  Raises: UserError: the peer does not run, or fails; the message has the last line of its error output.
  """
  flag = f"--peer={name}={python}"
  python = os.path.expanduser(python)
  # The process has another working directory, so relative paths would break.
  program = os.path.abspath(shutil.which(python) or python)
  with tempfile.TemporaryDirectory() as elsewhere, contextlib.ExitStack() as stack:
    for file in SCRIPTS.glob("*.py"):
      shutil.copyfile(file, Path(elsewhere, file.name))
    errors = Path(elsewhere, "errors")
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    try:
      stderr = stack.enter_context(errors.open("w"))
      command = [program, script, *arguments]
      process = stack.enter_context(subprocess.Popen(command, cwd=elsewhere, stderr=stderr, **pipes))
    except OSError as error:
      raise UserError(f"{flag} does not run: {error.strerror or error}") from error
    requests: Any = process.stdin
    answers: Any = process.stdout

    def close() -> None:
      process.kill()
      with contextlib.suppress(BrokenPipeError):  # a request left in the buffer by a dead process
        requests.close()

    stack.callback(close)

    def answer(field: str) -> dict[str, Any]:
      line = answers.readline()
      if not line:
        error_lines = errors.read_text().strip().splitlines() or ["it ended without a word"]
        raise UserError(f"{flag} failed: {error_lines[-1]}")
      with contextlib.suppress(ValueError, TypeError):
        fields = json.loads(line)
        if field in fields:
          return fields
      raise UserError(f"{flag} failed: it printed {line.strip()[:80]!r}, no answer")

    def ask(**fields: Any) -> dict[str, Any]:
      with contextlib.suppress(BrokenPipeError):  # reading the answer then reports the reason
        print(json.dumps(fields), file=requests, flush=True)
      return answer("seconds")

    yield answer("peer")["peer"], ask


def seconds_of(run: Callable[[], Any]) -> float:
  """Seconds until a result is there."""
  started = time.perf_counter()
  jax.block_until_ready(run())
  return time.perf_counter() - started


def medians_in_turns(calls: Sequence[Callable[[], float]], repeats: int) -> list[float]:
  """Median seconds of each call. Calls take turns, so that other load on the machine affects them alike.

  Each call returns its own seconds. The first round compiles and is not counted.

  >>> medians_in_turns([iter([9.0, 1.0, 2.0, 3.0]).__next__], repeats=3)
  [2.0]
  """
  rounds = [[call() for call in calls] for _ in range(repeats + 1)]
  return [statistics.median(times) for times in zip(*rounds[1:], strict=True)]
