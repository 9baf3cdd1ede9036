"""The pool goes on whatever a verifier does, and says which responses have no verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.pool import Pool

VERIFIER = "tests.tasks.verifiers.hostile:obey"
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pool():
  scorer = Pool(VERIFIER, {"right": 0.75}, workers=2, seconds=1.0)
  yield scorer
  scorer.close()


def runs(pid: str) -> bool:
  status = Path(f"/proc/{pid}/status")
  try:
    return "zombie" not in status.read_text()
  except (FileNotFoundError, ProcessLookupError):
    return False


def test_verdicts_come_in_order_with_their_parts(pool):
  verdicts = pool([("yes", {"answer": "yes"}), ("nope", {"answer": "yes"}), ("yes", {"answer": "yes"})])
  assert [v.reward for v in verdicts] == [0.75, 0.0, 0.75]
  assert verdicts[1].parts == {"length": 4.0}
  assert pool([]) == []


def test_what_hangs_or_crashes_is_unscored_and_the_rest_is_scored(pool, tmp_path):
  pids = tmp_path / "pid"
  hang, crash, raised = ["loop", "print", "child"], ["crash", "segfault", "exit"], ["raise", "memory", "nan"]
  words = ["yes", *hang, "yes", *crash, "yes", *raised, "yes"]
  before, started = (pool.timeouts, pool.crashes, pool.errors), time.monotonic()
  verdicts = pool([(word, {"answer": "yes", "pids": pids}) for word in words])
  assert time.monotonic() - started < 30
  assert [v.reward for v in verdicts] == [0.75 if word == "yes" else None for word in words]
  assert [v.parts.get("timed_out", 0.0) for v in verdicts] == [float(word in hang) for word in words]
  counts = (pool.timeouts, pool.crashes, pool.errors)
  assert [now - then for now, then in zip(counts, before, strict=True)] == [3, 3, 3]
  assert pool.last_error == "ValueError: the reward is nan"
  while runs(pids.read_text()):  # killed, and gone as soon as the system comes round to it
    assert time.monotonic() - started < 30, "what a verifier started lives on"


def test_workers_are_used_again_know_no_jax_and_are_replaced_after_some_items():
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=10.0, items_per_worker=2)
  verdicts = scorer([("worker", {})]) + scorer([("worker", {})] * 2)
  pids = [verdict.reward for verdict in verdicts]
  assert pids[0] == pids[1] != pids[2]
  assert [verdict.parts["jax"] for verdict in verdicts] == [0, 0, 0]
  scorer.close()
  assert not any(runs(str(int(pid))) for pid in pids)


def test_a_worker_that_has_grown_is_replaced():
  scorer = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=10.0, megabytes=256)
  words = ["worker", "keep", "worker", "keep", "worker"]
  first, _, second, _, third = [v.reward for v in scorer([(word, {"answer": ""}) for word in words])]
  assert first == second != third
  assert (scorer.crashes, scorer.errors) == (0, 0)
  scorer.close()


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


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize("end", ["killed", "exits"])
def test_workers_end_with_the_process(tmp_path, end):
  pids = tmp_path / "pid"
  # No `if __name__ == "__main__"`: a worker does not run the script again.
  script = f"""
import pathlib, sys, threading, time
from rl_jax.tasks.verifiers.pool import Pool
pids = pathlib.Path({str(pids)!r})
pool = Pool({VERIFIER!r}, {{"right": 1.0}}, workers=1, seconds=600.0)
threading.Thread(target=pool, args=([("power", {{"pids": pids}})],), daemon=True).start()
while not (pids.exists() and pids.read_text()):
  time.sleep(0.05)
if {end!r} == "killed":
  time.sleep(600)
"""
  process = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT)
  until = time.monotonic() + 30
  while not (pids.exists() and pids.read_text()) and time.monotonic() < until:
    time.sleep(0.05)
  if end == "killed":
    process.kill()
  process.wait(30)
  until = time.monotonic() + 10
  while runs(pids.read_text()) and time.monotonic() < until:
    time.sleep(0.05)
  assert not runs(pids.read_text())


def test_what_no_response_can_change_ends_the_call_with_a_line():
  broken = Pool("tests.tasks.verifiers.hostile:missing", {}, workers=1, seconds=1.0)
  with pytest.raises(ValueError, match=r"a worker for .*:missing did not start: .*no 'missing' in"):
    broken([("yes", {})])
  broken.close()
  unable = Pool(VERIFIER, {"right": 1.0}, workers=1, seconds=1.0)
  with pytest.raises(CannotVerify, match="^the verifier lacks a thing$"):
    unable([("cannot", {})])
  unable.close()
