"""The pool goes on whatever a verifier does, and says which responses have no verdict."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rl_jax.tasks.verifiers.pool import Pool

VERIFIER = "tests.tasks.verifiers.hostile:obey"


@pytest.fixture(scope="module")
def pool():
  scorer = Pool(VERIFIER, {"right": 0.75}, workers=2, seconds=1.0)
  yield scorer
  scorer.close()


def test_verdicts_come_in_order_with_their_parts(pool):
  verdicts = pool([("yes", {"answer": "yes"}), ("nope", {"answer": "yes"}), ("yes", {"answer": "yes"})])
  assert [v.reward for v in verdicts] == [0.75, 0.0, 0.75]
  assert verdicts[1].parts == {"length": 4.0}
  assert pool([]) == []


def test_what_hangs_or_crashes_is_unscored_and_the_rest_is_scored(pool, tmp_path):
  pids = tmp_path / "pid"
  bad = ["loop", "crash", "segfault", "raise", "child"]
  items = [(word, {"answer": "yes", "pids": pids}) for word in [*bad, "yes", *bad[:3], "yes"]]
  timeouts, crashes, started = pool.timeouts, pool.crashes, time.monotonic()
  verdicts = pool(items)
  assert time.monotonic() - started < 60
  assert [v.reward for v in verdicts] == [None] * 5 + [0.75] + [None] * 3 + [0.75]
  assert [v.parts.get("timed_out", 0.0) for v in verdicts] == [1, 0, 0, 0, 1, 0, 1, 0, 0, 0]
  assert (pool.timeouts - timeouts, pool.crashes - crashes) == (3, 4)
  status = Path(f"/proc/{pids.read_text()}/status")
  assert not status.exists() or "zombie" in status.read_text(), "what a verifier started lives on"


def test_a_verifier_that_cannot_be_loaded_is_told():
  broken = Pool("tests.tasks.verifiers.hostile:missing", {}, workers=1, seconds=1.0)
  with pytest.raises(ValueError, match="a worker for .*:missing did not start"):
    broken([("yes", {})])
  broken.close()
