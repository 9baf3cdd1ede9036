"""A run's log is proof: a resume and `verify` find every line that is not as its launch wrote it."""

from __future__ import annotations

import functools
import json
import shutil
import time
from pathlib import Path

import pytest

from rl_jax import verify
from rl_jax.errors import UserError
from rl_jax.launching.stop import Stop
from rl_jax.launching.vouching import LOG, checkpoint_fault
from rl_jax.runs.content import content_sha256
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json, write_json
from rl_jax.training import manifests
from rl_jax.training.checkpoints import Checkpoints
from tests.launching.vouched import (
  age,
  edit_early,
  edit_file,
  edit_late,
  kill,
  newest,
  tear,
  train,
)

FORGERIES = {
  "edited": (edit_early, None, "metrics.jsonl has changed within its first"),
  "edited late": (edit_late, 2, "metrics.jsonl has changed within its first"),
  "line lost": (lambda run: edit_file(run / "metrics.jsonl", lambda lines: lines[1:]), None, "metrics.jsonl"),
  "last line lost": (lambda run: edit_file(run / "metrics.jsonl", lambda lines: lines[:-1]), 2, "is cut"),
  "torn": (tear, 2, "metrics.jsonl is cut"),
  "missing": (lambda run: (run / "metrics.jsonl").unlink(), None, "metrics.jsonl is missing"),
  "samples": (lambda run: edit_file(run / "samples.jsonl", lambda lines: lines[1:]), None, "samples.jsonl"),
  "timings": (lambda run: (run / "timings.jsonl").unlink(), None, "timings.jsonl is missing"),
}
"""By name: what is done to the log, the checkpoint that still fits it, and what is said."""


@pytest.mark.parametrize("name", FORGERIES)
def test_finding_1_and_5_a_resume_takes_the_checkpoint_that_fits_the_log_or_is_refused(copy, name):
  forge, fits, message = FORGERIES[name]
  assert newest(copy) == (4, [])
  forge(copy)
  if fits:
    step, warnings = newest(copy)
    assert step == fits and len(warnings) == 1 and warnings[0].startswith("checkpoint 4 does not fit the log (")
    assert message in warnings[0] and warnings[0].endswith("using checkpoint 2")
    return
  with pytest.raises(UserError) as refused:
    train(copy, 6)
  line = str(refused.value)
  assert line.startswith(f"every checkpoint in {(copy / 'checkpoints').absolute()} is damaged or does not fit (4 does")
  assert message in line and line.endswith("restore the run's folder from a copy, or choose another --workdir")


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("name", FORGERIES)
def test_finding_1_verify_calls_no_forged_log_genuine(copy, name, killed, capsys):
  FORGERIES[name][0](copy)
  if killed:
    kill(copy)
  assert verify.main([str(copy), "--iterations=0"]) == 1
  out = capsys.readouterr().out
  assert "checkpoint 4 does not fit the log: " in out and out.endswith("not as recorded\n")


@pytest.mark.integration
@pytest.mark.parametrize("killed", [False, True])
def test_a_line_forged_behind_the_newest_checkpoint_is_dropped_by_a_resume(copy, killed):
  """It names an iteration that the checkpoint has, which by itself says nothing of when it was written."""
  genuine = (copy / "metrics.jsonl").read_bytes()
  last = genuine.splitlines()[-1]
  with (copy / "metrics.jsonl").open("ab") as file:
    file.write(last + b"\n")
  if killed:
    kill(copy)
  train(copy, 6)
  assert (copy / "metrics.jsonl").read_bytes().startswith(genuine)
  assert (copy / "metrics.jsonl").read_bytes().count(last) == 1


@pytest.mark.integration
def test_finding_5_a_torn_line_is_made_again_bit_for_bit(copy, vouched_run):
  before = (vouched_run / "metrics.jsonl").read_bytes()
  tear(copy)
  said = train(copy, 4)
  assert "using checkpoint 2" in said and "resuming from iteration 2" in said
  assert (copy / "metrics.jsonl").read_bytes() == before
  assert (copy / "samples.jsonl").read_bytes() == (vouched_run / "samples.jsonl").read_bytes()
  assert verify.main([str(copy), "--iterations=0"]) == 0
  assert [launch["resumed_from"] for launch in read_json(copy / "manifest.json")["launches"]] == [0, 2]


def without_hashes(run: Path, step: int) -> None:
  """The checkpoint, and the end of its launch, as an older version wrote them."""
  age(run)
  folder = run / "checkpoints" / str(step)
  body = manifests.read(folder)
  del body["metadata"][LOG]
  manifests.write(folder, body)


def test_an_older_checkpoint_is_held_against_the_end_of_its_launch(copy):
  for step in (2, 4):
    without_hashes(copy, step)
  assert newest(copy) == (4, [])
  edit_late(copy)
  with pytest.raises(UserError, match="4 does not fit: the log has changed since its launch ended"):
    newest(copy)
  kill(copy)
  assert newest(copy) == (4, []), "nothing says what the log was"


def test_a_log_that_was_forged_and_then_resumed_by_an_older_version_is_not_genuine(copy, capsys):
  """The later launch has hashed what it found; the earlier one still knows what it left."""
  for step in (2, 4):
    without_hashes(copy, step)
  edit_early(copy)
  manifest = read_json(copy / "manifest.json")
  (first,) = manifest["launches"]
  later = {name: value for name, value in first.items() if name != "resumed_from"}
  later["end"] = first["end"] | {"content_sha256": content_sha256(find_run(copy)), "iterations": 6}
  write_json(copy / "manifest.json", manifest | {"launches": [first, later]})
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert "the log has changed since its launch ended" in capsys.readouterr().out


@pytest.mark.parametrize("lines, doubt", [
  (1, "its log is vouched for up to iteration 4 by a checkpoint, and by nothing after that"), (0, ""),
])  # fmt: skip
def test_lines_after_the_last_checkpoint_of_a_killed_launch_are_not_called_genuine(copy, lines, doubt, capsys):
  kill(copy)
  with (copy / "metrics.jsonl").open("a") as metrics:
    metrics.write(json.dumps({"kind": "train", "iteration": 5, "reward": [1.0]}) + "\n" if lines else "")
  assert verify.main([str(copy), "--iterations=0"]) == (1 if lines else 0)
  out = capsys.readouterr().out
  assert doubt in out and ("make its iterations again to know" in out) == bool(lines)


def test_a_log_without_a_checkpoint_is_vouched_for_by_nothing(copy, capsys):
  kill(copy)
  shutil.rmtree(copy / "checkpoints")
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert "nothing vouches for its log" in capsys.readouterr().out


def test_finding_4_a_checkpoint_under_the_name_of_another_step_is_damage(copy):
  (copy / "checkpoints" / "4").rename(copy / "checkpoints" / "6")
  step, warnings = newest(copy)
  assert step == 2
  assert warnings == ["checkpoint 6 is damaged (it is checkpoint 4 under another name): using checkpoint 2"]


def test_a_checkpoint_of_another_run_is_not_taken(copy):
  fault = functools.partial(checkpoint_fault, find_run(copy), "another")
  with pytest.raises(UserError, match="4 is of another run; 2 is of another run"):
    Checkpoints(copy / "checkpoints", fault=fault).newest_intact()


class Striking(Stop):
  """Does something to the run's folder after its third iteration."""

  def __init__(self, strike):
    super().__init__()
    self.strike, self.calls = strike, 0

  def check(self):
    self.calls += 1
    if self.calls == 4:  # the first is before the start
      self.strike()
    return super().check()


def move_once_saved(run: Path, place: Path) -> None:
  while not (run / "checkpoints" / "2" / manifests.NAME).exists():
    time.sleep(0.02)
  run.rename(place)


@pytest.mark.integration
def test_finding_2_a_folder_that_goes_ends_the_run_and_does_not_come_back(tmp_path):
  run, moved = tmp_path / "run", tmp_path / "moved"
  with pytest.raises(UserError) as ended:
    train(run, 40, Striking(lambda: move_once_saved(run, moved)))
  assert str(ended.value) == (
    f"{run} was moved to {moved} under this run: what came after its last checkpoint is lost; move it back, or go on "
    "there (--workdir)"
  )
  assert not run.exists() and newest(moved) == (2, [])
