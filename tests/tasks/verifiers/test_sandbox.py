"""What a program may do in the sandbox, what it may not, and how it is told from a program that is wrong."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

import pytest

from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.sandbox import Limits

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the sandbox is made of Linux namespaces")

QUICK = Limits(seconds=0.5, total_seconds=4.0)
PATIENT = Limits(seconds=20.0, total_seconds=60.0)
"""For programs that end by themselves, however busy the machine is."""
ADD = "def add(a, b): return a + b\nif __name__ == '__main__': print(sum(map(int, input().split())))"


def one(program, test="pass", limits=PATIENT):
  (outcome,) = sandbox.run(program, [test], limits)
  return outcome


def test_isolation_is_shown_from_inside():
  assert {"no network", "few processes", "a user without rights", "no files of the host"} <= set(sandbox.isolation())


def test_each_test_has_its_own_verdict():
  tests = ["assert add(1, 2) == 3", "assert add(1, 2) == 4", "assert add.nothing"]
  tests += [{"input": "1 2\n", "output": "3"}, {"input": "1 2\n", "output": "33"}, {"input": "x", "output": "3"}]
  outcomes = sandbox.run(ADD, tests, PATIENT)
  assert [o.passed for o in outcomes] == [True, False, False, True, False, False]
  assert [o.ended for o in outcomes] == ["finished", "failed", "failed", "finished", "finished", "failed"]
  assert "AssertionError" in outcomes[1].output and outcomes[4].output == "3\n"


@pytest.mark.parametrize(
  "program", ["import sys; sys.exit(0)", "import os; os._exit(0)", "exit()", "def add(a, b) return 3", "\0", "\ud800"]
)
def test_a_program_that_ends_before_the_assertion_has_not_passed(program):
  assert one(program, "assert add(1, 2) == 3").passed is False


def test_output_is_compared_by_lines_without_what_follows_them():
  assert one("print('1 '); print(); print('2')", {"input": "", "output": "1\n\n2\n\n"}).passed
  assert not one("print('1'); print('2')", {"input": "", "output": "1 2"}).passed
  assert one("import sys; print('note', file=sys.stderr); print(1)", {"input": "", "output": "1"}).passed


def test_a_large_input_arrives():
  text = "7" * 300_000
  assert one("print(len(input()))", {"input": text, "output": "300000"}).passed


# No verdict: it had to be ended.
ENDED = {
  "endless loop": ("while True: pass", "time"),
  "sleep": ("import time; time.sleep(60)", "time"),
  "endless power": ("9**9**9", "time"),
  "fork bomb": ("import os\nwhile True:\n  try: os.fork()\n  except OSError: pass", "time"),
  "deaf": ("import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass", "time"),
  "endless print": ("while True: print('x' * 1000)", "output"),
  "segfault": ("import ctypes; ctypes.string_at(0)", "killed"),
}
# A verdict: it was refused something and gave up.
REFUSED = {
  "10 GB": ("bytearray(10 * 2**30)", "MemoryError"),
  "short fork bomb": ("import os\nwhile True: os.fork()", "BlockingIOError"),
  "huge file": ("f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(2**20))", "File too large"),
  "many files": ("for i in range(10**4): open(f'/tmp/{i}', 'wb').write(bytes(10**6))", "No space left"),
  "hidden memory": ("import os; os.memfd_create('x')", "not permitted"),
  "file outside": ("open('/usr/x', 'w')", "Read-only file system"),
  "environment of others": ("open('/proc/1/environ')", "No such file"),
  "home": ("import os; os.listdir('/home')", "No such file"),
  "socket": ("import socket; socket.socket()", "not permitted"),
  "machine's socket": ("import socket; socket.socket(40, 1)", "not permitted"),
  "new namespace": ("import ctypes; assert ctypes.CDLL(None).unshare(1 << 28) == 0", "AssertionError"),
  "exit": ("import os; os._exit(3)", ""),
}


@pytest.mark.parametrize("name", ENDED)
def test_a_program_that_had_to_be_ended_has_no_verdict(name):
  program, ended = ENDED[name]
  started = time.monotonic()
  outcome = one(program, limits=QUICK if ended == "time" else PATIENT)
  assert (outcome.passed, outcome.ended) == (None, ended)
  assert len(outcome.output) <= QUICK.shown_bytes
  assert time.monotonic() - started < 20


@pytest.mark.parametrize("name", REFUSED)
def test_a_program_that_is_refused_what_it_wants_fails(name):
  program, message = REFUSED[name]
  outcome = one(program)
  assert (outcome.passed, outcome.ended) == (False, "failed")
  assert message in outcome.output


def test_nothing_of_the_parent_is_seen(monkeypatch):
  monkeypatch.setenv("SECRET", "here")
  outcome = one("import os; print(dict(os.environ), os.listdir('/tmp'), os.getpid() < 100, os.path.exists('/proc/1'))")
  assert outcome.passed
  assert outcome.output == "{'PYTHONHASHSEED': '0', 'LC_CTYPE': 'C.UTF-8'} [] True False\n"


def test_a_server_of_the_host_is_not_reached():
  with socket.create_server(("127.0.0.1", 0)) as server:
    server.settimeout(0.2)
    code = f"import socket; socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))"
    assert one(code).passed is False
    with pytest.raises(TimeoutError):
      server.accept()


def test_nothing_lives_on_and_nothing_is_left_for_the_next_test():
  name = f"left{os.getpid()}"
  program = f"""
import ctypes, os, time
assert not os.listdir("/tmp")
open("/tmp/left", "w").close()
if os.fork() == 0:
  os.setsid()
  if os.fork() == 0:
    ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
    time.sleep(600)
time.sleep(0.1)
"""
  assert [o.passed for o in sandbox.run(program, ["pass", "pass"], PATIENT)] == [True, True]
  names = []
  for file in Path("/proc").glob("[0-9]*/comm"):
    try:
      names.append(file.read_text().strip())
    except (FileNotFoundError, ProcessLookupError):
      continue
  assert names and name not in names


def test_tests_that_do_not_begin_in_time_have_no_verdict():
  outcomes = sandbox.run("while True: pass", ["pass"] * 4, Limits(seconds=0.5, total_seconds=0.7))
  assert [(o.passed, o.ended) for o in outcomes] == [(None, "time")] * 4


def test_without_isolation_it_is_refused(monkeypatch):
  sandbox.isolation.cache_clear()
  monkeypatch.setitem(sandbox._PROBES, "no network", "import socket\nassert socket.socket()")
  with pytest.raises(CannotVerify, match="programs cannot be scored safely here: no proof of 'no network'.*allow user"):
    sandbox.run("pass", ["pass"])
  sandbox.isolation.cache_clear()
  monkeypatch.setattr(sandbox, "_folders", lambda: ["/missing"])
  with pytest.raises(CannotVerify, match="cannot be scored safely here: No such file or directory"):
    sandbox.run("pass", ["pass"])
  sandbox.isolation.cache_clear()


def test_tests_and_limits_that_make_no_sense_are_told():
  with pytest.raises(ValueError, match=r"a unit test is Python code or \{'input': text, 'output': text\}, got 3"):
    sandbox.run("pass", [3])
  with pytest.raises(ValueError, match="processes must be positive"):
    sandbox.run("pass", ["pass"], Limits(processes=0))
