"""The pool goes on whatever a verifier does, and says which responses have no verdict."""

from __future__ import annotations

import builtins
import collections
import functools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import confinement, wire
from rl_jax.tasks.verifiers import pool as pool_module
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.pool import Pool

VERIFIER = "tests.tasks.verifiers.hostile:obey"
ROOT = Path(__file__).parents[3]
MARK = f"/no/folder/{os.getpid()}"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces of Linux")


@pytest.fixture(scope="module")
def pool():
  scorer = Pool(VERIFIER, {"right": 0.75}, workers=2, seconds=0.5)
  yield scorer
  scorer.close()


def running() -> list[str]:
  """Names of processes."""
  names = []
  for file in Path("/proc").glob("[0-9]*/comm"):
    try:
      names.append(file.read_text().strip())
    except (FileNotFoundError, ProcessLookupError):
      continue
  return names


def workers() -> int:
  """Living processes of this test's pools, of any depth."""
  count = 0
  for file in Path("/proc").glob("[0-9]*/cmdline"):
    try:
      command = file.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
      continue
    count += b"rl_jax.tasks.verifiers" in command and MARK.encode() in command
  return count


def eventually(holds, seconds=20.0) -> bool:
  until = time.monotonic() + seconds
  while not holds() and time.monotonic() < until:
    time.sleep(0.05)
  return holds()


def test_verdicts_come_in_order_with_their_parts(pool):
  verdicts = pool([("yes", {"answer": "yes"}), ("nope", {"answer": "yes"}), ("yes", {"answer": "yes"})])
  assert [v.reward for v in verdicts] == [0.75, 0.0, 0.75]
  assert verdicts[1].parts == {"length": 4.0}
  assert pool([]) == []


def test_a_response_that_brings_its_verifier_down_has_failed_and_an_error_is_unscored(pool):
  hang, raised = ["loop", "print", "power", "sleep"], ["raise", "nan"]
  crash = ["crash", "segfault", "exit", "memory", "deep"]
  words = ["yes", *hang, "yes", *crash, "yes", *raised, "yes"]
  before, started = (pool.tally.timeouts, pool.tally.crashes, pool.tally.errors), time.monotonic()
  verdicts = pool([(word, {"answer": "yes"}) for word in words])
  assert time.monotonic() - started < 30
  want = {"yes": 0.75} | dict.fromkeys(hang + crash, 0.0) | dict.fromkeys(raised)
  assert {word: v.reward for word, v in zip(words, verdicts, strict=True)} == want
  assert {word for word, v in zip(words, verdicts, strict=True) if v.parts.get("timed_out")} == set(hang)
  counts = (pool.tally.timeouts, pool.tally.crashes, pool.tally.errors)
  assert [now - then for now, then in zip(counts, before, strict=True)] == [4, 5, 2]
  error = "ValueError: the reward is nan, want a number from -1e+19 to 1e+19"
  assert pool.tally.last_error.startswith(f"{error} (") and "hostile.py, line " in pool.tally.last_error
  assert pool.notes() == [
    f"{VERIFIER} has raised 2 times, last: {pool.tally.last_error}",
    f"{VERIFIER}: 4 responses have timed out and 5 have crashed",
  ]
  assert pool.notes() == []


def test_an_error_of_any_kind_is_the_verifiers_own():
  """A response that is blamed for it would earn 0, and a run would learn from nothing but zeros."""
  scorer = Pool(f"{__name__}:raises", {}, workers=1, seconds=5.0)
  names = ["error", "Exception", "StopIteration", "EOFError"]
  assert scorer([(name, {}) for name in names]) == [Verdict(None, {"error": 1.0})] * 4
  assert [v.reward for v in scorer([(name, {}) for name in ("RecursionError", "SystemExit")])] == [0.0, 0.0]
  place = f"{__file__}, line {raises.__code__.co_firstlineno + 1}"
  assert (scorer.tally.errors, scorer.tally.crashes) == (4, 2)
  assert scorer.tally.last_error == f"EOFError: no ({place})"
  scorer.close()


def raises(response, entry):
  raise {"error": struct.error}.get(response, getattr(builtins, response, None))("no")


def test_a_reason_for_no_reward_is_told():
  scorer = Pool(f"{__name__}:refuses", {}, workers=1, seconds=5.0)
  assert scorer([("", {})]) == [Verdict(None, {}, "the judge is away")]
  assert scorer.notes() == [f"{__name__}:refuses has given no reward 1 times, last: the judge is away"]
  scorer.close()


def refuses(response, entry):
  return Verdict(None, {}, "the judge is away")


def test_failed_responses_may_be_unscored():
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=0.2, failed_reward=None)
  assert [v.reward for v in scorer([(word, {}) for word in ("loop", "crash", "memory")])] == [None] * 3
  scorer.close()


def test_a_worker_that_the_machine_kills_is_tried_again(pool):
  (verdict,) = pool([("once", {"name": f"once{time.monotonic()}"})])
  assert verdict.reward == 0.5


def test_what_a_verifier_started_ends_with_it(pool):
  name = f"child{os.getpid()}"[:15]
  (verdict,) = pool([("child", {"name": name})])
  assert verdict.reward == 0.0 and eventually(lambda: name not in running())


@pytest.mark.parametrize("isolated", [True, False])
def test_workers_know_no_jax_and_are_replaced_after_some_items(isolated):
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=10.0, items_per_worker=2, isolated=isolated)
  verdicts = scorer([("worker", {})]) + scorer([("worker", {})] * 2)
  pids = [verdict.reward for verdict in verdicts]
  assert pids[0] == pids[1] != pids[2]
  assert [verdict.parts["jax"] for verdict in verdicts] == [0, 0, 0]
  scorer.close()


@pytest.mark.parametrize("isolated", [True, False])
def test_a_worker_that_has_grown_is_replaced(isolated):
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=10.0, megabytes=256, isolated=isolated)
  words = ["worker", "keep", "worker", "keep", "worker"]
  first, _, second, _, third = [v.reward for v in scorer([(word, {"answer": ""}) for word in words])]
  assert first == second != third
  assert (scorer.tally.crashes, scorer.tally.errors) == (0, 0)
  scorer.close()


def test_a_worker_reaches_nothing_and_knows_few_variables(pool, monkeypatch):
  assert pool([("reach", {})])[0].reward == 0.0
  monkeypatch.setenv("TOKEN", "secret")
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=10.0)
  known = set(scorer([("environment", {})])[0].parts)
  scorer.close()
  assert "TOKEN" not in known and {"HOME", "PYTHONHASHSEED"} <= known <= set(confinement.environment()) | {"LC_CTYPE"}


def test_only_plain_data_comes_from_a_worker():
  """An answer that a process made up, as one that an attack runs in would."""
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=5.0)
  odd = {"item": 1, "reward": 1.0, "parts": [], "error": "", "exhausted": False, "reason": ""}
  for answer in ([1], {"item": 1, "reward": "x"}, odd, {"item": 1, "reward": {}}, "x"):
    ours, theirs = socket.socketpair()
    with ours, theirs:
      wire.send(theirs, answer)
      worker = types.SimpleNamespace(connection=ours, item=0, given=1, ready=True, isolated=True, kill=lambda: None)
      worker.receive = functools.partial(pool_module._Worker.receive, worker)
      worker._inbox = wire.Inbox(ours)
      scorer._workers[:], verdicts, waiting, attempts = [worker], [None], collections.deque(), [1]
      scorer._take(worker, verdicts, waiting, attempts)
      assert verdicts == [Verdict(None, {"crashed": 1.0})] and not scorer._workers
  assert b"pickle" not in Path(wire.__file__).read_bytes().replace(b"never a pickle", b"")


def test_threads_may_share_a_pool(pool):
  items = [[("yes", {"answer": word}) for word in ("yes", "no") * n] for n in (1, 2, 3)]
  with ThreadPoolExecutor(3) as threads:
    found = list(threads.map(pool, items))
  assert [[v.reward for v in verdicts] for verdicts in found] == [[0.75, 0.0] * n for n in (1, 2, 3)]


def test_after_an_interrupt_no_answer_is_taken_for_that_of_another_item(pool):
  pool([("yes", {"answer": "yes"})] * 2)  # so that the workers have started
  threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
  with pytest.raises(KeyboardInterrupt):
    pool([("loop", {})] * 4)
  assert [v.reward for v in pool([("no", {"answer": "yes"}), ("yes", {"answer": "yes"})])] == [0.0, 0.75]


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("end", ["killed", "exits"])
def test_workers_end_with_the_process(end, isolated):
  # No `if __name__ == "__main__"`: a worker does not run the script again. The mark is in each command line.
  script = f"""
import os, sys, threading, time
sys.path.append({MARK!r})
from rl_jax.tasks.verifiers.pool import Pool
pool = Pool({VERIFIER!r}, {{"right": 1.0}}, workers=1, seconds=600.0, isolated={isolated})
pool([("yes", {{"answer": "yes"}})])
threading.Thread(target=pool, args=([("power", {{}})],), daemon=True).start()
time.sleep(0.3)
print("started", flush=True)
if {end!r} == "killed":
  time.sleep(600)
"""
  process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
  assert process.stdout.readline() == b"started\n"
  if end == "killed":
    assert workers() > 1
    process.kill()
  process.wait(30)
  assert eventually(lambda: workers() == 0), "a worker lives on"


def test_what_no_response_can_change_ends_the_call_with_a_line():
  broken = Pool("tests.tasks.verifiers.hostile:missing", {}, workers=1, seconds=1.0)
  with pytest.raises(CannotVerify, match=r"a worker for .*:missing did not start: .*no 'missing' in"):
    broken([("yes", {})])
  broken.close()
  unable = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=1.0)
  with pytest.raises(CannotVerify, match="^the verifier lacks a thing$"):
    unable([("cannot", {})])
  unable.close()
