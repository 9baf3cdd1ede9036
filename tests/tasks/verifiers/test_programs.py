"""Programs are found in responses and scored by unit tests, alone and by a pool under attack."""

from __future__ import annotations

import os
import signal
import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest

from rl_jax.kernels.rewards.unit_tests import unit_test_weights, weighted_passes
from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.pool import Pool
from rl_jax.tasks.verifiers.programs import unit_tests, unit_tests_parts, unit_tests_ready, unit_tests_seconds
from rl_jax.tasks.verifiers.sandbox import Outcome

linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the sandbox is made of Linux namespaces")
PATIENT = {"seconds": 20.0, "total_seconds": 60.0}
ENTRY = {"tests": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 0) == 0"]}


def fenced(code):
  return f"So:\n```python\n{code}\n```\nDone."


@linux
def test_verdicts_with_a_part_for_each_test():
  verdict = unit_tests(fenced("def add(a, b): return a + b if a < 2 else 5"), ENTRY, slots=4, limits=PATIENT)
  assert verdict.reward == 0.0
  assert verdict.parts == {
    "tests": 3.0, "tests_passed": 2.0, "tests_unjudged": 0.0, "tests_inside": 0.0,
    "test/0": 1.0, "test/1": 0.0, "test/2": 1.0,
  }  # fmt: skip
  assert set(verdict.parts) <= set(unit_tests_parts(slots=4))
  assert unit_tests(fenced("def add(a, b): return a + b"), ENTRY, limits=PATIENT).reward == 1.0
  assert unit_tests("no code", ENTRY, slots=1).parts["test/0"] == 0.0


@linux
def test_a_program_that_has_to_be_ended_has_failed_or_is_unscored():
  response = fenced("def add(a, b):\n  while a == 2: pass\n  return a + b")
  short = {"seconds": 1.0}
  verdict = unit_tests(response, ENTRY, reward="share", slots=2, limits=short)
  assert verdict.reward == pytest.approx(2 / 3)
  assert verdict.parts["test/1"] == -1.0 and verdict.parts["tests_unjudged"] == 1.0
  assert unit_tests(response, ENTRY, limits=short).reward == 0.0
  assert unit_tests(response, ENTRY, reward="share", unjudged="unscored", limits=short).reward is None


@linux
def test_one_failed_test_decides_where_all_have_to_pass():
  response = fenced("def add(a, b):\n  while a == 2: pass\n  return 0")
  verdict = unit_tests(response, ENTRY, unjudged="unscored", limits={"seconds": 1.0})
  assert verdict.reward == 0.0 and verdict.parts["tests_unjudged"] == 0.0, "the second test need not run"
  assert unit_tests(response, ENTRY, unjudged="unscored", slots=3, limits={"seconds": 1.0}).reward == 0.0


def test_what_the_machine_cannot_run_is_unscored(monkeypatch):
  refused = Outcome(None, "refused", "no memory")
  monkeypatch.setattr(sandbox, "run", lambda *a, **k: [Outcome(True, "finished", ""), refused])
  assert unit_tests(fenced("x"), ENTRY).reward is None
  monkeypatch.setattr(sandbox, "run", lambda *a, **k: [Outcome(False, "failed", ""), refused])
  assert unit_tests(fenced("x"), ENTRY).reward == 0.0
  assert unit_tests(fenced("x"), ENTRY, reward="share").reward is None


@linux
def test_what_a_task_is_told_before_training():
  inside = {"tests": ["for i in range(3):\n  assert add(i, i) == 2 * i", "assert add(1, 2) == 3"]}
  assert unit_tests_ready([ENTRY]) == []
  (note,) = unit_tests_ready([inside])
  assert note.startswith("1 of 2 unit tests have to run inside the program's interpreter")
  assert unit_tests_seconds(limits={"total_seconds": 5.0}) == 5.0 and unit_tests_seconds() == 8.0
  for entry, line in (({"tests": []}, "needs a list of `tests`"), ({"tests": [" "]}, "passed by any program")):
    with pytest.raises(ValueError, match=line):
      unit_tests_ready([entry])
  with pytest.raises(ValueError, match="want the address of a run_code service"):
    unit_tests_ready([ENTRY], service="localhost")


@linux
def test_the_parts_make_the_arrays_of_the_dense_rewards():
  responses = ["def add(a, b): return a + b", "def add(a, b): return 3"]
  verdicts = [unit_tests(fenced(code), ENTRY, slots=4, limits=PATIENT) for code in responses]
  stack = np.stack([[v.parts.get(f"test/{u}", 0.0) for v in verdicts] for u in range(4)], axis=-1)
  passes, count = jnp.asarray(stack == 1)[:, None], jnp.array([v.parts["tests"] for v in verdicts])
  test_mask, turns = jnp.arange(4) < count[:, None], jnp.ones((2, 1))
  weights = unit_test_weights(passes, jnp.array([5, 5]), turns, test_mask).weights
  rewards = weighted_passes(passes, weights, turns)
  assert rewards[0, 0] > rewards[1, 0] > 0
  assert np.all(np.asarray(weights)[:, 3] == 0)


def test_what_no_response_can_change_is_told():
  with pytest.raises(CannotVerify, match="an entry needs a list of `tests`, this has answer"):
    unit_tests("```\n1\n```", {"answer": "1"})
  with pytest.raises(CannotVerify, match="reward is 'some', want one of all, share"):
    unit_tests("", ENTRY, reward="some")
  for slots in ("a", -1, 10**9, 1.0, True):
    with pytest.raises(CannotVerify, match=f"slots is {slots!r}, want a whole number from 0 to 4096"):
      unit_tests_parts(slots=slots)
    with pytest.raises(CannotVerify, match="slots is"):
      unit_tests("", ENTRY, slots=slots)
  assert unit_tests_parts(slots=1)[-1] == "test/0"
  with pytest.raises(CannotVerify, match=r"unknown limits \['second'\] \(known: seconds"):
    unit_tests("```\n1\n```", ENTRY, limits={"second": 1})


ATTACKS = (
  "while True: pass",
  "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
  "import ctypes; ctypes.string_at(0)",
  "while True: print('x' * 1000)",
  "bytearray(10 * 2**30)",
  "import os; os._exit(0)",
  "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(2**20))",
  "print(open('/proc/self/environ').read())",
  "import socket; socket.create_connection(('127.0.0.1', 80))",
  "import os, signal; os.kill(1, signal.SIGKILL); os.kill(-1, signal.SIGKILL)",
)


@linux
def test_a_pool_scores_good_programs_among_attacks():
  limits = {"seconds": 1.0, "total_seconds": 6.0}
  scorer = Pool("rl_jax.tasks.verifiers.programs:unit_tests", {"limits": limits}, workers=2, seconds=20.0)
  good, started = fenced("def add(a, b): return a + b"), time.monotonic()
  items, rewards = [], []
  for code in ATTACKS:
    items += [(fenced(code), ENTRY), (good, ENTRY)]
    rewards += [0.0, 1.0]
  for _ in range(2):  # the same workers go on
    assert [v.reward for v in scorer(items)] == rewards
    items, rewards = items[4:8], rewards[4:8]
  counts = (scorer.tally.timeouts, scorer.tally.crashes, scorer.tally.errors)
  assert counts == (0, 0, 0), "the sandbox holds, so that the pool need not"
  assert time.monotonic() - started < 40
  scorer.close()


@linux
def test_a_pool_that_is_interrupted_takes_its_programs_with_it():
  limits = {"seconds": 60.0, "total_seconds": 60.0}
  scorer = Pool("rl_jax.tasks.verifiers.programs:unit_tests", {"limits": limits}, workers=1, seconds=60.0)
  name = f"held{os.getpid()}"
  code = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\nwhile True: pass"
  threading.Thread(target=end_when, args=(name, scorer), daemon=True).start()
  with pytest.raises(KeyboardInterrupt):
    scorer([(fenced(code), ENTRY)])
  scorer.close()
  until = time.monotonic() + 10
  while name in running() and time.monotonic() < until:
    time.sleep(0.05)
  assert name not in running(), "a program lives on"


def end_when(name, scorer):
  while name not in running():
    time.sleep(0.05)
  os.kill(os.getpid(), signal.SIGINT)


def running():
  names = []
  for process in filter(str.isdigit, os.listdir("/proc")):
    try:
      with open(f"/proc/{process}/comm") as stream:
        names.append(stream.read().strip())
    except (FileNotFoundError, ProcessLookupError):
      continue
  return names


OBJECTS = {
  "class V:\n  def __init__(self, a): self.a = a\n  def __eq__(self, o): return self.a == o.a\n"
  "  def __add__(self, o): return V(self.a + o.a)\n  def __abs__(self): return abs(self.a)\n"
  "  def __neg__(self): return V(-self.a)\n  def __contains__(self, x): return x == self.a\n":
    ["assert V(1) + V(2) == V(3)", "assert abs(V(-5)) == 5", "assert 3 in V(3)", "assert -V(1) == V(-1)"],
  "import enum\nclass C(str, enum.Enum):\n  R = 'red'\ndef f(): return C.R": ["assert f() == 'red'"],
  "def f(): return {frozenset({1, 2})}": ["assert f() == {frozenset({1, 2})}"],
  "from datetime import date\ndef f(): return date(2020, 1, 2)":
    ["from datetime import date\nassert f() == date(2020, 1, 2)"],
  "def f(n): return n % MOD": ["MOD = 7\nassert f(10) == 3"],
  "q = [1, 2]\ndef f(): return q.pop()": ["assert f() == 2 or f() == 9\nassert f() == 1"],
}  # fmt: skip


@pytest.mark.parametrize("program", OBJECTS)
def test_right_programs_of_objects_pass(program):
  verdict = unit_tests(fenced(program), {"tests": OBJECTS[program]}, limits={"seconds": 2.0, "total_seconds": 20.0})
  assert verdict.reward == 1.0, verdict


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e999", "[" * 980 + "]" * 980])
def test_a_forged_frame_that_is_no_value_is_a_failure(value):
  frame = f"m + ' {{\"value\":{value}}}\\n'"
  program = f"import sys, os\nm = sys._getframe(1).f_locals['mark']\nos.write(1, ('\\n' + {frame}).encode())"
  verdict = unit_tests(fenced(program), {"tests": ["assert f(1) == 2"]}, limits={"seconds": 1.0, "total_seconds": 5.0})
  assert verdict.reward == 0.0, verdict


def test_a_sleeper_takes_no_longer_than_its_limits_say():
  started = time.monotonic()
  limits = {"seconds": 0.2, "total_seconds": 0.4}
  tests = [f"assert f({i}) == {i}" for i in range(40)]
  program = fenced("import time; time.sleep(100)")
  assert unit_tests(program, {"tests": tests}, reward="share", limits=limits).reward == 0.0
  assert time.monotonic() - started < 20
