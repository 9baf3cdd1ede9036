"""The hash that names a run."""

from __future__ import annotations

import hashlib

from rl_jax.runs.content import content_sha256
from rl_jax.runs.record import load
from tests.runs import fabricated


def test_it_is_over_identity_metrics_and_samples_and_nothing_else(tmp_path):
  run = fabricated.run(tmp_path / "a")
  parts = [b"identity of a", *(hashlib.sha256(f.read_bytes()).hexdigest().encode() for f in (run.metrics, run.samples))]
  expected = hashlib.sha256(b"".join(part + b"\n" for part in parts)).hexdigest()
  assert content_sha256(run) == expected == load(run).content
  run.timings.write_text('{"iteration": 1, "seconds": 3.5}\n')
  run.manifest.unlink()
  assert content_sha256(run) == expected
  for file in (run.metrics, run.samples):
    before = file.read_text()
    file.write_text(before.replace("0", "1", 1))
    assert content_sha256(run) != expected
    file.write_text(before)
  assert content_sha256(run) == expected


def test_a_run_without_samples_has_a_name_too(tmp_path):
  run = fabricated.run(tmp_path / "a")
  run.samples.write_bytes(b"")
  empty = content_sha256(run)
  run.samples.unlink()
  assert content_sha256(run) == empty
