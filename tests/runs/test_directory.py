"""Whose run a folder holds, and who may write it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from rl_jax.errors import UserError
from rl_jax.runs.directory import find_run, open_run
from rl_jax.runs.files import write_atomically, write_json


def test_new_then_continued(tmp_path):
  path = tmp_path / "deep" / "grpo"
  with open_run(path, {"learning_rate": 3e-4, "log_every": 1}, "a", {"learning_rate": 3e-4}) as run:
    assert not run.continued and run.metrics == path / "metrics.jsonl"
  with open_run(path, {"learning_rate": 3e-4, "log_every": 5}, "a", {"learning_rate": 3e-4}) as run:
    assert run.continued
  assert json.loads((path / "config.json").read_text()) == {"learning_rate": 3e-4, "log_every": 1}, "nothing has run"
  assert find_run(path).identity.exists()


def begin(path, identity, fields):
  """A run that has done an iteration."""
  with open_run(path, {}, identity, fields) as run:
    run.metrics.write_text('{"kind": "train", "iteration": 1}\n')


def test_another_run_names_the_differences(tmp_path):
  path = tmp_path / "grpo"
  begin(path, "a", {"learning_rate": 3e-4, "betas": (0.9, 0.95), "seed": 0})
  with pytest.raises(UserError) as error:
    open_run(path, {}, "b", {"learning_rate": 1e-3, "betas": (0.9, 0.95), "seed": 0})
  difference = "learning_rate: 0.0003 there, 0.001 here"
  advice = "choose another --workdir, or remove that folder"
  assert str(error.value) == f"{path} holds another run ({difference}): {advice}"


def test_three_differences_at_most_nested_and_absent(tmp_path):
  begin(tmp_path / "x", "a", {"method": {"name": "grpo", "clip": 0.2}, "b": 1, "c": 1})
  with pytest.raises(UserError) as error:
    open_run(tmp_path / "x", {}, "b", {"method": {"name": "rloo"}, "b": 2, "c": 2})
  assert "(method.name: grpo there, rloo here; b: 1 there, 2 here; c: 1 there, 2 here; and 1 more)" in str(error.value)
  with pytest.raises(UserError, match="method.clip: 0.2 there, absent here"):
    open_run(tmp_path / "x", {}, "b", {"method": {"name": "grpo"}, "b": 1, "c": 1})
  with pytest.raises(UserError, match="identity a there, b here"):  # a method's source differs, its config does not
    open_run(tmp_path / "x", {}, "b", {"method": {"name": "grpo", "clip": 0.2}, "b": 1, "c": 1})


def test_folder_that_is_no_run_stays_as_it_is(tmp_path):
  (tmp_path / "thesis.tex").write_text("x")
  with pytest.raises(UserError, match=r"is not empty and holds no run \(thesis.tex\): choose another --workdir"):
    open_run(tmp_path, {}, "a", {})
  assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]
  with pytest.raises(UserError, match="is a file, not a folder"):
    open_run(tmp_path / "thesis.tex", {}, "a", {})
  with pytest.raises(UserError, match="holds no run"):
    find_run(tmp_path)
  with pytest.raises(UserError, match="does not exist"):
    find_run(tmp_path / "nothing")


FILES = ("identity.json", "config.json", "manifest.json", "method.py", "metrics.jsonl", "samples.jsonl")
FILES += ("timings.jsonl", "report.png", "report.html", "traceback.txt")
FOLDERS = ("tensorboard", "trackers", "checkpoints", "profile")


@pytest.mark.parametrize("name", (*FILES, *FOLDERS))
def test_a_name_of_the_run_that_is_of_another_kind_is_found_before_the_training(name, tmp_path):
  """Findings 6, 7 and 24."""
  with open_run(tmp_path / "run", {}, "a", {}) as directory:
    directory.metrics.write_text('{"kind": "train", "iteration": 1}\n')
  path = tmp_path / "run" / name
  path.unlink(missing_ok=True)
  path.mkdir() if name in FILES else path.touch()
  with pytest.raises(UserError) as refused:
    open_run(tmp_path / "run", {}, "a", {})
  if name == "identity.json":
    assert str(refused.value) == f"cannot read {path}: Is a directory"
  else:
    kinds = "a folder, where the run keeps a file" if name in FILES else "not a folder, where the run keeps one"
    assert str(refused.value) == f"{path} is {kinds}: move it away, or choose another --workdir"
  path.rmdir() if name in FILES else path.unlink()
  if name != "identity.json":
    open_run(tmp_path / "run", {}, "a", {}).close()


def test_a_traceback_that_is_a_folder_is_a_line_in_a_free_folder_too(tmp_path):
  (tmp_path / "run" / "traceback.txt").mkdir(parents=True)
  with pytest.raises(UserError, match=r"traceback.txt is a folder, where the run keeps a file"):
    open_run(tmp_path / "run", {}, "a", {})
  assert [path.name for path in (tmp_path / "run").iterdir()] == ["traceback.txt"]


def test_finding_10_a_start_that_was_killed_before_its_first_iteration_claims_no_folder(tmp_path):
  """Its record goes with it; one that is still there, or has begun, is kept."""
  start = open_run(tmp_path, {"learning_rate": 1}, "a", {})
  with pytest.raises(UserError, match="is being written by another process"):
    open_run(tmp_path, {}, "b", {})
  start.manifest.write_text("{}")
  start.metrics.write_text('{"kind": "evaluation", "iteration": 0}\n')
  start.close()
  with open_run(tmp_path, {"learning_rate": 2}, "b", {}) as run:
    assert not run.continued and not run.metrics.exists() and not run.manifest.exists()
    assert json.loads(run.config.read_text()) == {"learning_rate": 2}
    run.checkpoints.mkdir()
    (run.checkpoints / "2").mkdir()
  with pytest.raises(UserError, match="holds another run"):
    open_run(tmp_path, {}, "c", {})


def test_a_start_that_fails_leaves_no_lock(tmp_path, monkeypatch):
  with open_run(tmp_path / "left", {}, "a", {}) as run:
    run.leave()
  monkeypatch.setattr("rl_jax.runs.directory.write_json", lambda *_: 1 / 0)
  with pytest.raises(ZeroDivisionError):
    open_run(tmp_path / "failed", {}, "a", {})
  assert not list((tmp_path / "left").iterdir()) and not list((tmp_path / "failed").iterdir())


def test_who_waits_for_a_start_that_leaves_locks_a_file_that_others_see(tmp_path):
  start = open_run(tmp_path, {}, "a", {})

  def wait(holder):
    start.leave()
    return True

  with open_run(tmp_path, {}, "a", {}, wait) as run:
    run.check_in_place()
    with pytest.raises(UserError, match="is being written by another process"):
      open_run(tmp_path, {}, "a", {})


def test_creation_cut_short_is_continued(tmp_path):
  (tmp_path / ".lock").write_text("process 1 on somewhere")
  (tmp_path / ".identity.json.tmp").write_text('{"form')
  open_run(tmp_path, {"a": 1}, "a", {}).close()
  (tmp_path / "config.json").unlink()
  with open_run(tmp_path, {"a": 1}, "a", {}) as run:
    assert run.continued and run.config.exists()


def test_another_format_or_a_damaged_file(tmp_path):
  open_run(tmp_path, {}, "a", {}).close()
  write_json(tmp_path / "identity.json", {"format": 99})
  with pytest.raises(UserError, match="format 99, this version reads 1"):
    open_run(tmp_path, {}, "a", {})
  (tmp_path / "identity.json").write_text("{")
  with pytest.raises(UserError, match="is not JSON"):
    open_run(tmp_path, {}, "a", {})


_HOLD = "from rl_jax.runs.directory import open_run; import sys; r = open_run(sys.argv[1], {}, 'a', {}); "


def _holder(path, code):
  root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
  return subprocess.Popen(
    [sys.executable, "-c", _HOLD + code, str(path)],
    stdout=subprocess.PIPE,
    text=True,
    env={**os.environ, "PYTHONPATH": root},
  )


def test_two_processes_cannot_write_one_run(tmp_path):
  holder = _holder(tmp_path / "x", "print('held', flush=True); sys.stdin.read(); import time; time.sleep(60)")
  try:
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UserError, match=rf"is being written by another process \(process {holder.pid} on "):
      open_run(tmp_path / "x", {}, "a", {})
  finally:
    holder.kill()
    holder.wait()
  open_run(tmp_path / "x", {}, "a", {}).close()  # a kill frees the lock


def test_forked_child_does_not_keep_the_lock(tmp_path):
  code = "import os, time; p = os.fork(); p or time.sleep(60); print(p, flush=True); time.sleep(60)"
  holder = _holder(tmp_path / "x", code)
  child = int(holder.stdout.readline())
  try:
    holder.kill()
    holder.wait()
    time.sleep(0.05)
    open_run(tmp_path / "x", {}, "a", {}).close()
  finally:
    os.kill(child, signal.SIGKILL)
    holder.stdout.close()


def test_same_process_twice(tmp_path):
  run = open_run(tmp_path, {}, "a", {})
  with pytest.raises(UserError, match="is being written"):
    open_run(tmp_path, {}, "a", {})
  run.close()
  run.close()
  open_run(tmp_path, {}, "a", {}).close()


def test_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
  write_atomically(tmp_path / "f", b"old")

  def full(_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "fsync", full)
  with pytest.raises(UserError, match=r"cannot write .*/f: No space left on device: "):
    write_atomically(tmp_path / "f", b"new")
  assert [entry.name for entry in tmp_path.iterdir()] == ["f"] and (tmp_path / "f").read_bytes() == b"old"


@pytest.mark.parametrize("strike, message", [
  (lambda path: path.rename(path.with_name("moved")), "was moved to {parent}/moved under this run: what came after"),
  (shutil.rmtree, "was removed or emptied under this run: its record and its checkpoints are lost"),
  (lambda path: (path / "identity.json").unlink(), "was removed or emptied under this run"),
  (lambda path: (path / ".lock").unlink(), "has lost its .lock, or was replaced, under this run"),
])  # fmt: skip
def test_finding_2_a_folder_that_is_no_longer_the_one_that_was_locked_is_told(strike, message, tmp_path):
  path = tmp_path / "run"
  with open_run(path, {}, "a", {}) as run:
    run.check_in_place()
    strike(path)
    with pytest.raises(UserError) as error:
      run.check_in_place()
    assert message.format(parent=tmp_path) in str(error.value)


def test_a_folder_that_took_the_place_of_a_run_is_left_alone(tmp_path):
  path = tmp_path / "run"
  with open_run(path, {}, "a", {}) as run:
    path.rename(tmp_path / "moved")
    open_run(path, {}, "b", {}).close()
    run.leave()
  assert json.loads((path / "identity.json").read_text())["identity"] == "b"


@pytest.mark.parametrize("name", [
  "identity.json", "config.json", "manifest.json", "method.py", "metrics.jsonl", "samples.jsonl", "timings.jsonl"
])  # fmt: skip
@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_a_pipe_or_a_device_in_place_of_a_file_is_refused_before_it_is_read(tmp_path, name, make):
  with open_run(tmp_path / "run", {}, "a", {}):
    pass
  (tmp_path / "run" / name).unlink(missing_ok=True)
  make(tmp_path / "run" / name)
  for read in (find_run, lambda path: open_run(path, {}, "a", {})):
    with pytest.raises(UserError, match=f"{name} is not a regular file but a pipe, device or socket: restore it"):
      read(tmp_path / "run")
