"""Programs are found in responses and scored by unit tests, alone and by a pool under attack."""

from __future__ import annotations

import os
import time

import jax.numpy as jnp
import numpy as np
import pytest

from kernels.rewards.unit_tests import unit_test_weights, weighted_passes
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.pool import Pool
from rl_jax.tasks.verifiers.programs import code_block, unit_tests, unit_tests_parts

linux = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the sandbox is made of Linux namespaces")
PATIENT = {"seconds": 20.0, "total_seconds": 60.0}
ENTRY = {"tests": ["assert add(1, 2) == 3", "assert add(2, 2) == 4", "assert add(0, 0) == 0"]}


def fenced(code):
  return f"So:\n```python\n{code}\n```\nDone."


@pytest.mark.parametrize(
  ("response", "code"),
  [
    ("```python\na\n```\nor\n```py\nb\n```\nprints\n```\n3\n```", "b\n"),
    ("```\na\n```", "a\n"),
    ("```bash\nls\n```", None),
    ("```Python\nx = '```'\ny\n```", "x = '```'\ny\n"),
    ("```python\nnot closed", "not closed"),
    ("no code", None),
    ("``` python title\na\n```", "a\n"),
  ],
)
def test_the_code_block(response, code):
  assert code_block(response) == code


@linux
def test_verdicts_with_a_part_for_each_test():
  verdict = unit_tests(fenced("def add(a, b): return a + b if a < 2 else 5"), ENTRY, slots=4, limits=PATIENT)
  assert verdict.reward == 0.0
  assert verdict.parts == {
    "tests": 3.0, "tests_passed": 2.0, "tests_unjudged": 0.0, "test/0": 1.0, "test/1": 0.0, "test/2": 1.0,
  }  # fmt: skip
  assert set(verdict.parts) <= set(unit_tests_parts(slots=4))
  assert unit_tests(fenced("def add(a, b): return a + b"), ENTRY, limits=PATIENT).reward == 1.0
  assert unit_tests("no code", ENTRY, slots=1).parts["test/0"] == 0.0


@linux
def test_a_test_without_verdict_makes_the_row_unscored_or_counts_as_failed():
  response = fenced("def add(a, b):\n  while a == 2: pass\n  return a + b")
  short = {"seconds": 1.0}
  verdict = unit_tests(response, ENTRY, reward="share", slots=2, limits=short)
  assert verdict.reward is None and verdict.parts["test/1"] == -1.0 and verdict.parts["tests_unjudged"] == 1.0
  assert unit_tests(response, ENTRY, reward="share", unjudged="failed", limits=short).reward == pytest.approx(2 / 3)


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
  with pytest.raises(CannotVerify, match=r"unknown limits \['second'\] \(known: seconds"):
    unit_tests("```\n1\n```", ENTRY, limits={"second": 1})


ATTACKS = {
  "while True: pass": None,
  "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass": None,
  "import ctypes; ctypes.string_at(0)": None,
  "while True: print('x' * 1000)": None,
  "bytearray(10 * 2**30)": 0.0,
  "import os; os._exit(0)": 0.0,
  "f = open('/tmp/f', 'wb')\nwhile True: f.write(bytes(2**20))": 0.0,
  "print(open('/proc/self/environ').read())": 0.0,
  "import socket; socket.create_connection(('127.0.0.1', 80))": 0.0,
  "import os, signal; os.kill(1, signal.SIGKILL); os.kill(-1, signal.SIGKILL)": 0.0,
}


@linux
def test_a_pool_scores_good_programs_among_attacks():
  limits = {"seconds": 1.0, "total_seconds": 6.0}
  scorer = Pool("rl_jax.tasks.verifiers.programs:unit_tests", {"limits": limits}, workers=2, seconds=20.0)
  good, started = fenced("def add(a, b): return a + b"), time.monotonic()
  items, rewards = [], []
  for code, reward in ATTACKS.items():
    items += [(fenced(code), ENTRY), (good, ENTRY)]
    rewards += [reward, 1.0]
  for _ in range(2):  # the same workers go on
    assert [v.reward for v in scorer(items)] == rewards
    items, rewards = items[4:8], rewards[4:8]
  assert (scorer.timeouts, scorer.crashes, scorer.errors) == (0, 0, 0), "the sandbox holds, so that the pool need not"
  assert time.monotonic() - started < 40
  scorer.close()


@linux
def test_a_worker_that_is_killed_takes_the_sandbox_with_it(tmp_path):
  limits = {"seconds": 60.0, "total_seconds": 60.0}
  scorer = Pool("rl_jax.tasks.verifiers.programs:unit_tests", {"limits": limits}, workers=1, seconds=1.5)
  name = f"held{os.getpid()}"
  code = f"import ctypes\nctypes.CDLL(None).prctl(15, b'{name}', 0, 0, 0)\nwhile True: pass"
  assert scorer([(fenced(code), ENTRY)])[0].parts == {"timed_out": 1.0}
  scorer.close()
  until = time.monotonic() + 10
  while name in running() and time.monotonic() < until:
    time.sleep(0.05)
  assert name not in running(), "a program lives on"


def running():
  names = []
  for process in filter(str.isdigit, os.listdir("/proc")):
    try:
      with open(f"/proc/{process}/comm") as stream:
        names.append(stream.read().strip())
    except (FileNotFoundError, ProcessLookupError):
      continue
  return names
