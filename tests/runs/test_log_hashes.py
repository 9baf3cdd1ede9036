"""What a checkpoint knows of the log: sizes and hashes of what was written so far."""

from __future__ import annotations

import hashlib

import pytest

from rl_jax.errors import UserError
from rl_jax.runs.log_hashes import LogHashes, departure
from tests.runs import fabricated


@pytest.fixture
def run(tmp_path):
  run = fabricated.run(tmp_path / "a")
  run.timings.write_text('{"kind": "timings", "iteration": 1, "seconds": 3.5}\n')
  return run


def test_the_hashes_are_those_of_whole_files_and_hold_while_they_grow(run):
  hashes = LogHashes(run)
  first = hashes.now()
  for path in run.log:
    content = path.read_bytes()
    assert first[path.name] == [len(content), hashlib.sha256(content).hexdigest()]
  with run.metrics.open("ab") as file:
    file.write(b'{"iteration": 9}\n')
  assert hashes.now() == LogHashes(run).now() != first
  assert departure(run, first) == ""


def test_a_change_behind_what_was_hashed_is_noticed_though_it_came_during_the_launch(run):
  hashes = LogHashes(run)
  hashes.now()
  run.metrics.write_bytes(run.metrics.read_bytes().replace(b"0", b"1", 1))
  assert "metrics.jsonl has changed within its first" in departure(run, hashes.now())


def test_a_file_that_becomes_shorter_ends_the_launch(run):
  hashes = LogHashes(run)
  hashes.now()
  run.samples.unlink()
  with pytest.raises(UserError, match=r"samples.jsonl was removed or cut under this run \(0 of its \d+ bytes are left"):
    hashes.now()
