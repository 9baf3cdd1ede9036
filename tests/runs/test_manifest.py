"""What a launch ran on."""

import subprocess

import pytest

from rl_jax.errors import UserError
from rl_jax.runs.manifest import append_launch, end_launch, git_state, manifest, read_launches
from tests.runs import fabricated

END = {
  "ended": "2026-03-01T10:05:00+00:00", "wall_seconds": 3.5, "iterations": 3, "finished": True,
  "content_sha256": "0" * 64,
}  # fmt: skip


def _git(path, *arguments):
  identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
  subprocess.run(["git", *identity, *arguments], cwd=path, check=True, capture_output=True)


def test_fields(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_x=1")
  monkeypatch.setenv("JAX_PLATFORMS", "cpu")
  monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
  monkeypatch.setenv("SECRET_TOKEN", "hunter2")
  entry = manifest(["python", "-m", "rl_jax.train"], "cpu x1", extra={"dataset": "abc"})
  assert entry["command"] == ["python", "-m", "rl_jax.train"] and entry["dataset"] == "abc"
  assert entry["flags"]["XLA_FLAGS"] == "--xla_cpu_x=1" and entry["flags"]["JAX_PLATFORMS"] == "cpu"
  assert "hunter2" not in str(entry) and "/somewhere" not in str(entry)
  assert "numpy" in entry["packages"] and entry["cpu_model"] and entry["cpu_threads"] >= entry["cpu_threads_allowed"]
  with pytest.raises(UserError, match="field 'python' of its own"):
    manifest([], "cpu", extra={"python": 3})


def test_launches_are_kept(tmp_path):
  path = tmp_path / "manifest.json"
  second = fabricated.LAUNCH | {"devices": "second"}
  append_launch(path, fabricated.LAUNCH)
  before = read_launches(path)
  append_launch(path, second)
  assert read_launches(path) == [*before, second]
  end_launch(path, END)
  assert read_launches(path) == [*before, second | {"end": END}]
  path.write_text('{"format": 1, "launches": []}')
  with pytest.raises(UserError, match="holds no launch that could end"):
    end_launch(path, {})
  path.write_text("[]")
  with pytest.raises(UserError, match="is not a manifest"):
    append_launch(path, {})


def test_git_state(tmp_path, monkeypatch):
  nothing = {"git_commit": None, "git_clean": None, "uncommitted_sha256": None}
  assert git_state(tmp_path) == nothing
  _git(tmp_path, "init")
  (tmp_path / "a.py").write_text("1\n")
  _git(tmp_path, "add", "a.py")
  _git(tmp_path, "commit", "-m", "x")
  clean = git_state(tmp_path)
  assert len(clean["git_commit"]) == 40 and clean["git_clean"] and clean["uncommitted_sha256"] is None
  (tmp_path / "notes.txt").write_text("does not run")
  assert git_state(tmp_path) == clean
  results = tmp_path / "experiments" / "results"
  results.mkdir(parents=True)
  (results / "a.md").write_text("1\n")
  _git(tmp_path, "add", "experiments")
  _git(tmp_path, "commit", "-m", "y")
  (results / "a.md").write_text("2\n")  # a study's page after its next entry
  assert git_state(tmp_path)["git_clean"]
  (tmp_path / "a.py").write_text("2\n")
  edited = git_state(tmp_path)
  (tmp_path / "new.py").write_text("3\n")
  added = git_state(tmp_path)
  assert edited["git_clean"] is False and len({edited["uncommitted_sha256"], added["uncommitted_sha256"], None}) == 3
  assert added == git_state(tmp_path)
  (tmp_path / "inside").mkdir()
  assert git_state(tmp_path / "inside") == nothing  # somebody else's repository around an installed copy
  monkeypatch.setenv("PATH", "")
  assert git_state(tmp_path) == nothing
