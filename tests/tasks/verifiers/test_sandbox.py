"""What a program may do in the sandbox, what it may not, and how it is told from a program that is wrong."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
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
  "spinning threads": (
    "import threading\ndef spin():\n  while True: pass\nfor _ in range(8): threading.Thread(target=spin).start()\n"
    "spin()",
    "time",
  ),
  "deaf": ("import signal\nfor s in (1, 2, 15): signal.signal(s, signal.SIG_IGN)\nwhile True: pass", "time"),
  "endless print": ("while True: print('x' * 1000)", "output"),
  "segfault": ("import ctypes; ctypes.string_at(0)", "killed"),
}  # fmt: skip
# A verdict: it was refused something and gave up.
REFUSED = {
  "10 GB": ("bytearray(10 * 2**30)", "MemoryError"),
  "fork": ("import os; os.fork()", "BlockingIOError"),
  "subprocess": ("import subprocess; subprocess.run(['/bin/true'])", "BlockingIOError"),
  "thread bomb": (
    "import threading, time\nwhile True: threading.Thread(target=time.sleep, args=(9,), daemon=True).start()",
    "new thread",
  ),
  "huge file": ("f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(2**20))", "File too large"),
  "many files": ("for i in range(10**4): open(f'/tmp/{i}', 'wb').write(bytes(10**6))", "No space left"),
  "hidden memory": ("import os; os.memfd_create('x')", "not permitted"),
  "semaphores": ("import ctypes; assert ctypes.CDLL(None).semget(0, 32000, 0o1600) >= 0", "AssertionError"),
  "limits of the judge": ("import resource; resource.prlimit(1, resource.RLIMIT_NOFILE, (0, 0))", "PermissionError"),
  "file outside": ("open('/usr/x', 'w')", "Read-only file system"),
  "environment of others": ("open('/proc/1/environ')", "No such file"),
  "home": ("import os; os.listdir('/home')", "No such file"),
  "sources of the system": ("import os; os.listdir('/usr/src')", "No such file"),
  "packages": ("import pip", "No module named"),
  "socket": ("import socket; socket.socket()", "not permitted"),
  "machine's socket": ("import socket; socket.socket(40, 1)", "not permitted"),
  "new namespace": ("import ctypes; assert ctypes.CDLL(None).unshare(1 << 28) == 0", "AssertionError"),
  "exit": ("import os; os._exit(3)", ""),
}  # fmt: skip


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
  outcome = one("import os; print(dict(os.environ), os.listdir('/tmp'), os.path.exists('/proc/1'))")
  assert outcome.passed
  assert outcome.output == "{'PYTHONHASHSEED': '0', 'MALLOC_ARENA_MAX': '1', 'LC_CTYPE': 'C.UTF-8'} [] False\n"


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
  forking = PATIENT._replace(processes=4)
  assert [o.passed for o in sandbox.run(program, ["pass", "pass"], forking)] == [True, True]
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


def test_processes_share_the_memory():
  program = "import os\npid = os.fork()\nif pid == 0:\n  bytearray(300 * 2**20)\n  os._exit(0)\nended = os.wait()[1]"
  assert not one(program, "assert ended == 0", PATIENT._replace(processes=2)).passed
  assert one(program, "assert ended == 0", PATIENT._replace(processes=2, memory_bytes=2**30)).passed


def test_a_program_may_have_the_threads_that_its_limits_say():
  program = """
import threading
gate = threading.Barrier(16)
threads = [threading.Thread(target=gate.wait) for _ in range(15)]
for thread in threads: thread.start()
gate.wait()
"""
  assert one(program).passed


@pytest.mark.slow
def test_sleep_is_bounded_by_the_clock_and_waiting_for_a_cpu_is_not():
  """A right program of half its CPU time, on cores that six others want."""
  spinners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3 * (os.cpu_count() or 1))]
  try:
    program = "import time\nwhile time.process_time() < 0.25: pass"
    assert [o.passed for o in sandbox.run(program, ["pass"] * 4, Limits(seconds=0.5, total_seconds=4.0))] == [True] * 4
  finally:
    for spinner in spinners:
      spinner.kill()
      spinner.wait()


def test_a_sandbox_that_is_lost_is_made_again():
  one("pass")
  pid = sandbox._wardens._own[0].process.pid
  os.kill(pid, signal.SIGKILL)
  until = time.monotonic() + 10
  while one("pass").passed is not True and time.monotonic() < until:
    time.sleep(0.05)
  assert one("pass").passed and sandbox._wardens._own[0].process.pid != pid


def test_without_isolation_it_is_refused(monkeypatch):
  monkeypatch.setitem(sandbox.proofs.PROBES, "no network", "import socket\nassert socket.socket()")
  sandbox.isolation.cache_clear()
  with pytest.raises(CannotVerify, match="programs cannot be scored safely here: no proof of 'no network'.*`service`"):
    sandbox.run("pass", ["pass"])
  monkeypatch.undo()
  monkeypatch.setattr(sandbox, "_execute", lambda job, address: {"refused": "unshare: Operation not permitted"})
  with pytest.raises(CannotVerify, match="cannot be scored safely here: unshare: Operation not permitted"):
    sandbox.run("pass", ["pass"])
  sandbox.isolation.cache_clear()


def test_tests_and_limits_that_make_no_sense_are_told():
  with pytest.raises(ValueError, match=r"a unit test is Python code or \{'input': text, 'output': text\}, got 3"):
    sandbox.run("pass", [3])
  for empty in ("", " \n", {"input": "", "output": " "}):
    with pytest.raises(ValueError, match="passed by"):
      sandbox.run("pass", [empty])
  for limits, line in (
    (Limits(processes=0), "processes must be positive"),
    (Limits(seconds=9.0), r"seconds \(9\) of one test are more than total_seconds \(8\) of all"),
    (Limits(processes=64), "less than .* for each of 64 processes"),
  ):
    with pytest.raises(ValueError, match=line):
      sandbox.run("pass", ["pass"], limits)


@pytest.mark.parametrize(
  "test",
  [
    "# todo", "pass", "x = 1", "import math", "assert True", "def test_f():\n  assert f(1) == 2",
    "def check(c):\n  c(1)", "f(",
  ],
)  # fmt: skip
def test_a_test_that_no_program_fails_is_refused_when_data_is_prepared(test):
  with pytest.raises(ValueError, match="passed by (any|no) program"):
    sandbox.check_useful(test)


@pytest.mark.parametrize("test", ["assert f(1)", "f(1)", "for i in range(3):\n  assert f(i) == i", "if f(1): raise X"])
def test_a_test_that_asserts_or_calls_is_taken(test):
  sandbox.check_useful(test)
