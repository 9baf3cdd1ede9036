"""Programs run by a service that speaks the run_code interface: the same verdicts as here."""

from __future__ import annotations

import http.server
import json
import subprocess
import sys
import threading

import pytest

from rl_jax.tasks.verifiers import sandbox, service
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.pool import Pool
from rl_jax.tasks.verifiers.programs import unit_tests, unit_tests_ready
from tests.tasks.verifiers.hostile_programs import fenced


class Handler(http.server.BaseHTTPRequestHandler):
  """Runs what it is sent without any isolation; `answers` replaces the next answers."""

  answers: list = []

  def do_POST(self):
    request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
    answer = self.answers.pop(0) if self.answers else self.run(request)
    data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    self.send_response(200)
    self.send_header("Content-Length", str(len(data)))
    self.end_headers()
    self.wfile.write(data)

  def run(self, request):
    assert request["language"] == "python"
    result = {"status": "Finished", "execution_time": 0.01}
    try:
      ended = subprocess.run(
        [sys.executable, "-c", request["code"]],
        input=request["stdin"], capture_output=True, text=True, timeout=request["run_timeout"],
      )  # fmt: skip
      result |= {"return_code": ended.returncode, "stdout": ended.stdout, "stderr": ended.stderr}
      status = "Success" if ended.returncode == 0 else "Failed"
    except subprocess.TimeoutExpired:
      status, result = "Failed", {"status": "TimeLimitExceeded", "execution_time": request["run_timeout"]}
    return {"status": status, "message": "", "compile_result": None, "run_result": result}

  def log_message(self, *arguments):
    pass


@pytest.fixture(scope="module")
def address():
  server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  yield f"http://127.0.0.1:{server.server_port}/run_code"
  server.shutdown()


TESTS = [
  "assert add(1, 2) == 3", "assert add(1, 2) == 4", "assert add.nothing", {"input": "1 2\n", "output": "3"},
  {"input": "1 2\n", "output": "4"}, "for i in range(3):\n  assert add(i, i) == 2 * i", "assert add('a', 'b') == 'ab'",
]  # fmt: skip
PROGRAMS = [
  "def add(a, b): return a + b\nif __name__ == '__main__': print(sum(map(int, input().split())))",
  "def add(a, b): return 3\nprint(3)", "import os; os._exit(0)", "raise SystemExit(0)", "def add(a, b) return 3",
  "1 / 0",
  "import os; os.kill(os.getpid(), 9)", "while True: pass", "print('x' * 2 * 10**6)", "print('note')\nadd = max",
]  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS)
def test_verdicts_are_those_of_the_sandbox(address, program):
  limits = sandbox.Limits(seconds=0.3, total_seconds=30.0)
  brief = lambda outcomes: [(o.passed, o.inside) for o in outcomes]
  there = sandbox.run(program, TESTS, limits, address=address)
  assert brief(there) == brief(sandbox.run(program, TESTS, limits))


def test_confined_workers_reach_the_service_through_their_warden(address):
  scorer = Pool("rl_jax.tasks.verifiers.programs:unit_tests", {"service": address}, workers=1, seconds=10.0)
  items = [(fenced(program), {"tests": TESTS[:1]}) for program in PROGRAMS[:3]]
  assert [verdict.reward for verdict in scorer(items)] == [1.0, 1.0, 0.0]
  scorer.close()


@pytest.mark.parametrize(
  "answer",
  [
    {"status": "SandboxError", "message": "no room", "run_result": None},
    {"status": "Success", "message": "", "run_result": {"status": "Odd"}},
    {"status": "Success"}, [], b"no json", {},
  ],
)  # fmt: skip
def test_a_failure_of_the_service_is_no_verdict(address, answer):
  Handler.answers.append(answer)
  verdict = unit_tests(fenced("add = max"), {"tests": ["assert add(1, 2) == 2"]}, service=address)
  assert verdict.reward is None


def test_a_service_that_is_away_is_no_verdict():
  verdict = unit_tests(fenced("add = max"), {"tests": ["assert add(1, 2) == 2"]}, service="http://127.0.0.1:9/run_code")
  assert verdict.reward is None


def test_an_address_that_is_none_is_told():
  odd = ("http://[", "http://h:port/run_code", "http://:80/x", 3, ["http://h"], None, 0)
  for wrong in ("localhost:80", "file:///etc/passwd", "http://", "ftp://x/y", *odd):
    with pytest.raises(CannotVerify, match="want the address of a run_code service"):
      service.check(wrong)


ENTRIES = [{"tests": TESTS[:1]}]


def test_a_service_that_runs_programs_is_accepted(address):
  assert unit_tests_ready(ENTRIES, service=address) == []


def test_a_service_that_runs_nothing_is_refused_before_training(address):
  with pytest.raises(CannotVerify, match=r"^service: no program can be run, http://127.0.0.1:9/run_code: .*refused"):
    unit_tests_ready(ENTRIES, service="http://127.0.0.1:9/run_code")
  done = {"status": "Finished", "return_code": 0, "stdout": "hello\n", "stderr": ""}
  answers = {
    "no program can be run, .*: the service failed: no room": {"status": "SandboxError", "message": "no room"},
    "and answered 'finished' with the output 'hello": {"status": "Success", "run_result": done},
    "and answered 'time' with the output ''": {"status": "Failed", "run_result": {"status": "TimeLimitExceeded"}},
    "no program can be run": b"<html>a web page</html>",
  }
  for line, answer in answers.items():
    Handler.answers.append(answer)
    with pytest.raises(CannotVerify, match=line) as error:
      unit_tests_ready(ENTRIES, service=address)
    assert "\n" not in str(error.value)
