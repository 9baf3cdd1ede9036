"""Python as a tool: what is shown of a program by hand, its limits, and what is refused before any call."""

from __future__ import annotations

import functools
import os
import time

import pytest

from rl_jax.tasks.tools.python import Python
from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.errors import CannotVerify

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the sandbox is made of Linux namespaces")


@functools.cache
def tool(**limits):
  return Python({"seconds": 20.0, "total_seconds": 20.0, **limits})


# Hand-computed.


@pytest.mark.parametrize(
  ("call", "result"),
  [
    ("print(2 + 3)", "5"),
    ("def f(x):\n  return x * x\nfor i in range(3):\n  print(f(i))", "0\n1\n4"),
    ("```python\nprint('in a block')\n```", "in a block"),
    ("if __name__ == '__main__':\n  print('a script')", "a script"),
    ("x = 5", "nothing printed"),
    ("import sys; print('seen', flush=True); print('too', file=sys.stderr)", "seen\ntoo"),
    ("print(1)\n1 / 0", "error: ZeroDivisionError: division by zero"),
    ("print('7' * 9999)\ndef f():\n  raise KeyError('x')\ntry:\n  1 / 0\nfinally:\n  f()", "error: KeyError: 'x'"),
    ("print(", "error: SyntaxError: '(' was never closed"),
    ("import sys; sys.exit(3)", "error: the program has failed"),
    ("input()", "error: EOFError: EOF when reading a line"),
    ("import socket; socket.socket()", "error: PermissionError: [Errno 1] Operation not permitted"),
  ],
)
def test_results_by_hand(call, result):
  assert tool()(call) == result


# Limits.


def test_a_program_that_takes_too_long_is_ended():
  limited, started = tool(seconds=0.5), time.monotonic()
  assert limited("print('begun', flush=True)\nwhile True: pass") == "error: more than 0.5 s"
  assert time.monotonic() - started < 30


def test_a_program_that_prints_too_much_is_ended():
  assert tool(output_bytes=1000)("while True: print('x' * 100)") == "error: more than 1000 bytes of output"


def test_the_beginning_of_a_long_output_is_shown():
  assert tool(shown_bytes=10)("print('0123456789' * 9)") == "0123456789"


def test_a_program_leaves_nothing_behind():
  assert tool()("x = 1; open('/tmp/f', 'w').write('1'); print(x)") == "1"
  assert tool()("print(x)") == "error: NameError: name 'x' is not defined"
  assert tool()("open('/tmp/f')") == "error: FileNotFoundError: [Errno 2] No such file or directory: '/tmp/f'"


# Edge cases.


def test_what_the_machine_cannot_run_is_no_result(monkeypatch):
  own = Python({})
  monkeypatch.setattr(sandbox, "execute", lambda *_, **__: sandbox.Outcome(None, "refused", "no memory"))
  with pytest.raises(CannotVerify, match="the tool 'python' could not run a program: no memory"):
    own("print(1)")
  assert own.notes() == ["the tool 'python' could not run a program: no memory"] and own.notes() == []


@pytest.mark.parametrize(
  ("limits", "message"),
  [
    ({"minutes": 1}, r"task: unknown limits \['minutes'\]"),
    ({"seconds": 0.0}, "limits of a program: seconds must be positive"),
    ({"seconds": 9.0}, r"limits of a program: seconds \(9\) of one test are more than total_seconds"),
  ],
)
def test_limits_that_make_no_sense_are_one_line(limits, message):
  with pytest.raises(CannotVerify, match=message):
    Python(limits)
