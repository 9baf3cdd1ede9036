"""What is done to a run's record behind its back is found and said, in one line, by `verify` and by a resume."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
from pathlib import Path

import pytest

from rl_jax import verify
from rl_jax.errors import UserError
from rl_jax.launching.recorder import Recorder
from rl_jax.launching.vouching import LOG
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json
from rl_jax.runs.log_hashes import LogHashes
from rl_jax.training import manifests
from rl_jax.training.trainer import Trainer
from tests import commands
from tests.launching.vouched import age, config, edit_early, edit_file, edit_json, kill, newest, train


def rewrite_log(run: Path, step: int, change) -> None:
  """What a checkpoint says of the log, replaced, with a checksum that holds."""
  folder = run / "checkpoints" / str(step)
  body = manifests.read(folder)
  change(body["metadata"])
  manifests.write(folder, body)


def forge_with_its_hash(run: Path) -> None:
  edit_early(run)
  rewrite_log(run, 4, lambda metadata: metadata.update(log=LogHashes(find_run(run)).now()))


def remove_a_file(run: Path) -> None:
  next(path for path in (run / "checkpoints" / "4" / "state").rglob("*") if path.is_file()).unlink()


def copy_4(name: str):
  return lambda run: shutil.copytree(run / "checkpoints" / "4", run / "checkpoints" / name)


def vouch(change):
  """Edits what checkpoint 4 says of the log."""
  return lambda run: rewrite_log(run, 4, lambda metadata: change(run, metadata))


NOTHING = [0, hashlib.sha256().hexdigest()]
RENAMED = "is damaged (it is checkpoint 4 under another name)"
REPLACED = "checkpoint 4 is not the one that its launch left"
UNKNOWN = "vouched for up to iteration 2 by a checkpoint, and by nothing after that"
CHECKPOINTS = {
  "file lost": (remove_a_file, 2, "checkpoint 4 is damaged (state/", ""),
  "file altered": (lambda run: commands.flip_a_bit(run / "checkpoints/4/state"), 2, "checkpoint 4 is damaged (st", ""),
  "manifest lost": (lambda run: (run / "checkpoints/4/manifest.json").unlink(), 2, REPLACED, UNKNOWN),
  "manifest altered": (
    lambda run: (run / "checkpoints/4/manifest.json").write_text("{}"), 2, "checkpoint 4 is damaged (manifest", ""
  ),
  "04": (lambda run: (run / "checkpoints/4").rename(run / "checkpoints/04"), 2, f"checkpoint 04 {RENAMED}", ""),
  "6": (copy_4("6"), 4, f"checkpoint 6 {RENAMED}", ""),
  "copy": (copy_4("4.old"), 4, f"checkpoint 4.old {RENAMED}", ""),
  "no hashes": (vouch(lambda run, metadata: metadata.pop(LOG)), 2, REPLACED, UNKNOWN),
  "empty hashes": (
    vouch(lambda run, metadata: metadata.update(log={})), 2, REPLACED,
    "checkpoint 4 does not fit the log: its sizes and hashes of the log are damaged",
  ),
  "hashes of nothing": (
    vouch(lambda run, metadata: metadata.update(log=dict.fromkeys(metadata[LOG], NOTHING))), 2,
    REPLACED, "checkpoint 4 does not fit the log: it vouches for metrics.jsonl up to iteration None",
  ),
  "hashes of another": (
    vouch(lambda run, metadata: metadata.update(log=manifests.read(run / "checkpoints/2")["metadata"][LOG])), 2,
    REPLACED, "checkpoint 4 does not fit the log: it vouches for metrics.jsonl up to iteration 2",
  ),
  "log and its hashes": (forge_with_its_hash, None, REPLACED, "checkpoint 2 does not fit the log: metrics.jsonl has"),
}  # fmt: skip
"""By name: what is done to checkpoint 4, which one a resume takes then, and what verify says, also of a killed launch,
which vouches for no checkpoint; "" for the same."""


@pytest.mark.parametrize("killed", [False, True])
@pytest.mark.parametrize("name", CHECKPOINTS)
def test_verify_says_what_was_done_to_a_checkpoint(copy, name, killed, capsys):
  forge, _, message, message_of_killed = CHECKPOINTS[name]
  forge(copy)
  if killed:
    kill(copy)
    message = message_of_killed or message
  assert verify.main([str(copy), "--iterations=0"]) == 1
  out = capsys.readouterr().out
  assert sum(message in line for line in out.splitlines()) == 1, out
  assert "checkpoint 4 does not fit" not in out or REPLACED not in out, "it is said once"


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_a_resume_does_not_take_a_checkpoint_that_was_tampered_with(copy, name):
  forge, fits, _, _ = CHECKPOINTS[name]
  forge(copy)
  if fits is None:
    with pytest.raises(UserError, match="4 is not the one that its launch left; 2 does not fit the log"):
      newest(copy)
    return
  step, (warning,) = newest(copy)
  assert step == fits and warning.endswith(f": using checkpoint {fits}")


def test_a_run_whose_checkpoints_are_gone_is_not_begun_anew_over_its_log(copy):
  before = {path.name: path.read_bytes() for path in copy.glob("*.json*")}
  for change in (lambda: None, lambda: (copy / "manifest.json").unlink()):
    shutil.rmtree(copy / "checkpoints", ignore_errors=True)
    change()
    for iterations in (4, 6):
      with pytest.raises(UserError) as refused:
        train(copy, iterations)
      assert str(refused.value) == (
        f"{copy}: no checkpoint is left of a run that had reached iteration 4: restore {copy / 'checkpoints'} from "
        "a copy, or choose another --workdir"
      )
  after = {path.name: path.read_bytes() for path in copy.glob("*.json*")}
  assert after == {name: content for name, content in before.items() if name != "manifest.json"}


@pytest.mark.integration
def test_a_run_that_was_killed_before_its_first_checkpoint_says_that_it_begins_anew(copy, vouched_run):
  kill(copy)
  shutil.rmtree(copy / "checkpoints")
  said = train(copy, 4).splitlines()
  assert f"{copy}: ended at iteration 4 before its first checkpoint: starting from the beginning" in said
  assert (copy / "metrics.jsonl").read_bytes() == (vouched_run / "metrics.jsonl").read_bytes()


@pytest.mark.integration
def test_a_checkpoint_that_was_removed_is_named(copy, capsys):
  shutil.rmtree(copy / "checkpoints" / "4")
  assert verify.main([str(copy), "--iterations=0"]) == 0
  assert f"{copy}: checkpoint 4 was removed since launch 1\n" in capsys.readouterr().out
  said = train(copy, 4).splitlines()
  assert f"{copy}: checkpoint 4 was removed since launch 1" in said
  assert verify.main([str(copy), "--iterations=0"]) == 0, "launch 2 has saved it again"


def repeat_line(run: Path, index: int) -> None:
  edit_file(run / "metrics.jsonl", lambda lines: [*lines, lines[index]] if index < 0 else [lines[0], *lines])


@pytest.mark.parametrize("index, line", [
  (-1, "metrics.jsonl, line 8 has evaluation of iteration 4 again, after line 7"),
  (0, "metrics.jsonl, line 2 has evaluation of iteration 0 again, after line 1"),
])  # fmt: skip
def test_a_line_that_stands_twice_is_named(copy, index, line, capsys):
  repeat_line(copy, index)
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert f"{copy}: {line}\n" in capsys.readouterr().out


@pytest.mark.integration
def test_a_line_that_stands_twice_is_told_by_a_rerun_and_dropped_by_a_resume(copy):
  repeat_line(copy, -1)
  *faults, last = train(copy, 4).splitlines()
  assert any("metrics.jsonl, line 8 has evaluation of iteration 4 again, after line 7" in fault for fault in faults)
  assert last == f"{copy}: already finished (4 iterations); raise num_iterations to continue"
  assert "metrics.jsonl: dropped 1 line that nothing vouches for" in train(copy, 5).splitlines()


@pytest.mark.integration
def test_a_manifest_that_was_removed_is_told_and_the_run_is_not_called_genuine_after(copy, capsys):
  (copy / "manifest.json").unlink()
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert capsys.readouterr().err == f"rl_jax.verify: {copy}/manifest.json is missing\n"
  lost = f"{copy}: manifest.json names no launch: the run's history is lost"
  assert lost in train(copy, 4).splitlines() and lost in train(copy, 5).splitlines()
  assert verify.main([str(copy), "--iterations=0"]) == 1
  out = capsys.readouterr().out
  assert f"{copy}: manifest.json lacks the launches before iteration 4, where its first entry begins\n" in out


def edit_config(run: Path) -> None:
  edit_json(run / "config.json", lambda config: config.update(learning_rate=0.5))


def edit_identity(run: Path) -> None:
  edit_json(run / "identity.json", lambda content: content["fields"].update(seed=7))


EDITS = {
  "config.json": edit_config,
  "identity.json": edit_identity,
  "method.py": lambda run: (run / "method.py").write_text((run / "method.py").read_text() + "# better\n"),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_file_of_the_record_that_was_edited_is_named_by_verify_and_a_rerun(copy, name, capsys):
  EDITS[name](copy)
  line = f"{copy}: {name} was edited since launch 1"
  assert verify.main([str(copy)]) == 1
  assert capsys.readouterr().out.splitlines() == [
    line, f"{copy}: not as recorded, and not made again: what it is made of was edited"
  ]  # fmt: skip
  assert line in train(copy, 4).splitlines()


@pytest.mark.integration
def test_edited_files_are_named_by_a_resume_which_writes_them_anew(copy, vouched_run):
  genuine = (vouched_run / "identity.json").read_bytes()
  for edit in EDITS.values():
    edit(copy)
  said = train(copy, 5).splitlines()
  for name in EDITS:
    assert f"{copy}: {name} was edited since launch 1: this launch writes it anew" in said
  assert (copy / "identity.json").read_bytes() == genuine
  assert verify.main([str(copy), "--iterations=0"]) == 0


def test_an_identity_that_was_edited_is_not_taken_for_another_run(copy):
  edit_json(copy / "identity.json", lambda content: content.update(identity="0" * 64))
  with pytest.raises(UserError, match="identity.json was edited since launch 1: restore it from a copy"):
    train(copy, 6)


@pytest.mark.parametrize("content", [
  "{}", "[]", '{"method": 1}', '{"method": {"name": 2}}', '{"method": {"name": "no.such"}}'
])  # fmt: skip
def test_a_config_that_is_none_is_one_line(copy, content, capsys):
  (copy / "config.json").write_text(content)
  assert verify.main([str(copy)]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"rl_jax.verify: {copy}: config.json was edited since launch 1; ")


def test_a_record_of_a_version_without_these_hashes_is_read(copy, capsys):
  age(copy)
  assert verify.main([str(copy), "--iterations=0"]) == 0
  assert capsys.readouterr().out == f"{copy}: the log is as its launch left it\n"


ADDED = '{"kind": "timings", "iteration": 5, "wall_clock": 1.0, "seconds": 1.0}\n'
TIMINGS = {
  "forged": (lambda lines: [lines[0].replace("seconds", "minutes", 1), *lines[1:]], "has changed within its first"),
  "grown": (lambda lines: [*lines, ADDED], f"has grown by {len(ADDED)} bytes"),
  "missing": (None, "is missing"),
}


@pytest.mark.parametrize("checkpoints", [False, True])
@pytest.mark.parametrize("name", TIMINGS)
def test_the_end_of_a_launch_vouches_for_timings(copy, name, checkpoints, capsys):
  change, message = TIMINGS[name]
  edit_file(copy / "timings.jsonl", change) if change else (copy / "timings.jsonl").unlink()
  if not checkpoints:
    shutil.rmtree(copy / "checkpoints")
  assert verify.main([str(copy), "--iterations=0"]) == 1
  ended = read_json(copy / "manifest.json")["launches"][0]["end"]["ended"]
  out = capsys.readouterr().out
  assert f"{copy}: the log has changed since its launch ended {ended}: timings.jsonl {message}" in out
  if checkpoints and name == "grown":  # of others no checkpoint fits
    assert f"its launch ended {ended}: timings.jsonl {message}" in train(copy, 4)


@pytest.mark.parametrize("checkpoints, note", [(False, ""), (True, " after iteration 4")])
def test_an_older_launch_does_not_vouch_for_timings(copy, checkpoints, note, capsys):
  age(copy)
  edit_file(copy / "timings.jsonl", lambda lines: [*lines, ADDED])
  if not checkpoints:
    shutil.rmtree(copy / "checkpoints")
  assert verify.main([str(copy), "--iterations=0"]) == 0
  assert f"{copy}: nothing vouches for timings.jsonl{note}\n" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl", "timings.jsonl"])
def test_nothing_vouches_for_a_line_after_the_last_checkpoint_of_a_killed_launch(copy, name, capsys):
  kill(copy)
  edit_file(copy / name, lambda lines: [*lines, '{"kind": "x", "iteration": 4}\n'])
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert "vouched for up to iteration 4 by a checkpoint, and by nothing after that" in capsys.readouterr().out


def launch(change):
  """Edits the only launch."""
  return lambda run: edit_json(run / "manifest.json", lambda manifest: change(manifest["launches"][0]))


def edit_method_of_an_older_launch(run: Path) -> None:
  age(run)
  EDITS["method.py"](run)


def lose_files_in_the_second(run: Path) -> None:
  def change(manifest):
    first = manifest["launches"][0]
    second = {name: value for name, value in first.items() if name not in ("files", "end")}
    manifest["launches"].append(second | {"started": "2026-12-01T10:00:00+00:00", "resumed_from": 4})

  edit_json(run / "manifest.json", change)


def repeat_launch(run: Path) -> None:
  edit_json(run / "manifest.json", lambda manifest: manifest["launches"].append(manifest["launches"][0]))


def end_late_in_the_first(run: Path) -> None:
  def change(manifest):
    first = manifest["launches"][0]
    later = {"started": "2026-12-01T10:00:00+00:00", "resumed_from": 4}
    manifest["launches"] = [first | {"end": first["end"] | {"iterations": 400}}, first | later]

  edit_json(run / "manifest.json", change)


CONTRADICTIONS = {
  "ends after its log": (
    launch(lambda launch: launch["end"].update(iterations=400)), "launch 1 ended at iteration 400, its log at 4"
  ),
  "ends before its log": (
    launch(lambda launch: launch["end"].update(iterations=2)), "launch 1 ended at iteration 2, its log at 4"
  ),
  "first one ends late": (
    end_late_in_the_first, "launch 1 ended at iteration 400, but left no checkpoint of it"
  ),
  "identity of another": (
    launch(lambda launch: launch.update(identity="0" * 64)),
    "launch 1 is of another run: its identity is not that of identity.json",
  ),
  "launch twice": (repeat_launch, "launch 2 is launch 1 again"),
  "files lost": (launch(lambda launch: launch.pop("files")), "launch 1 has lost its field 'files'"),
  "files of the second lost": (lose_files_in_the_second, "launch 2 has lost its field 'files'"),
  "checkpoints lost": (
    launch(lambda launch: launch["end"].pop("checkpoints")), "launch 1 has lost its field 'end.checkpoints'"
  ),
  "not finished": (
    launch(lambda launch: launch["end"].update(finished=False)), "launch 1 is called not finished at iteration 4 of 4"
  ),
}  # fmt: skip
"""By name: what is done to the manifest, and what is said of it."""


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_what_a_launch_cannot_have_written_is_named_by_verify(copy, name, capsys):
  forge, message = CONTRADICTIONS[name]
  forge(copy)
  assert verify.main([str(copy), "--iterations=0"]) == 1
  out = capsys.readouterr().out.splitlines()
  assert out == [f"{copy}: manifest.json, {message}", f"{copy}: not as recorded"]


@pytest.mark.integration
def test_what_a_launch_cannot_have_written_is_said_by_a_resume(copy):
  launch(lambda launch: launch.update(identity="0" * 64))(copy)
  CONTRADICTIONS["ends after its log"][0](copy)
  said = train(copy, 5).splitlines()
  for name in ("identity of another", "ends after its log"):
    assert f"{copy}: manifest.json, {CONTRADICTIONS[name][1]}" in said


def test_the_page_that_a_launch_writes_is_marked_where_its_log_was_forged(copy):
  edit_early(copy)
  Recorder(config(), "", find_run(copy), ["test"], io.StringIO()).report()
  page = (copy / "report.html").read_text()
  assert '<p class="warning">This run is not as recorded: checkpoint 2 does not fit the log: metrics.jsonl has' in page


def test_a_method_is_held_against_its_hash_where_a_launch_has_no_files(copy, capsys):
  edit_method_of_an_older_launch(copy)
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert f"{copy}: method.py was edited since launch 1\n" in capsys.readouterr().out


@pytest.mark.parametrize("change, version", [
  (lambda manifest: manifest.pop("format"), "none"), (lambda manifest: manifest.update(format=7), "7")
])  # fmt: skip
def test_a_manifest_of_another_format_is_refused_in_one_line(copy, change, version, capsys):
  edit_json(copy / "manifest.json", change)
  line = f"{copy}/manifest.json has format {version}, this version reads 1: restore it from a copy"
  assert verify.main([str(copy), "--iterations=0"]) == 1
  assert capsys.readouterr().err == f"rl_jax.verify: {line}\n"
  with pytest.raises(UserError) as refused:
    train(copy, 5)
  assert str(refused.value) == line


@pytest.mark.parametrize("make", [
  Path.touch, lambda path: path.symlink_to(path), lambda path: path.symlink_to(path.parent / "2")
])  # fmt: skip
def test_what_has_the_place_of_a_checkpoint_is_refused_before_the_work(copy, make, monkeypatch):
  make(copy / "checkpoints" / "6")
  monkeypatch.setattr(Trainer, "compile", lambda self: pytest.fail("it has begun to compile"))
  with pytest.raises(UserError) as refused:
    train(copy, 6)
  place = (copy / "checkpoints" / "6").absolute()
  assert str(refused.value) == f"{place} blocks a checkpoint because it is not a folder: remove it, or move it away"


def test_what_lies_among_checkpoints_is_a_note(copy, capsys):
  (copy / "checkpoints" / "6").mkdir()
  (copy / "checkpoints" / "4" / "state" / "extra").touch()
  assert verify.main([str(copy), "--iterations=0"]) == 0
  assert capsys.readouterr().out.splitlines() == [
    f"{copy}: checkpoints/6 is no finished checkpoint",
    f"{copy}: checkpoint 4 was saved without its state/extra",
    f"{copy}: the log is as its launch left it",
  ]


@pytest.mark.parametrize("name, message", [
  ("metrics.jsonl", "metrics.jsonl is not a regular file"),
  ("checkpoints/4/state/_METADATA", "checkpoint 4 is damaged (state/_METADATA cannot be read: it is no regular file)"),
  ("checkpoints/4/manifest.json", REPLACED),
])  # fmt: skip
def test_a_pipe_is_not_waited_for(copy, name, message, capsys):
  (copy / name).unlink()
  os.mkfifo(copy / name)
  assert verify.main([str(copy), "--iterations=0"]) == 1
  out, error = capsys.readouterr()
  assert message in out + error


@pytest.mark.parametrize("change, message", [
  (lambda line: line.pop("kind"), " has no kind"),
  (lambda line: line.update(kind=1), " has no kind"),
  (lambda line: line.update(reward="x"), ", 'reward': want a list of numbers, got 'x'"),
  (lambda line: line.update(reward=["x"]), ", 'reward': want a list of numbers, got ['x']"),
  (lambda line: line.update(reward=[0.5, 0.5]), ", 'reward': want a number for each of 1 seeds"),
])  # fmt: skip
def test_a_line_of_metrics_that_is_none_is_one_line(copy, change, message, capsys):
  line = json.loads((copy / "metrics.jsonl").read_text().splitlines()[1])
  change(line)
  edit_file(copy / "metrics.jsonl", lambda lines: [lines[0], json.dumps(line) + "\n", *lines[2:]])
  assert verify.main([str(copy)]) == 1
  line = capsys.readouterr().err
  assert line == f"rl_jax.verify: {copy}/metrics.jsonl, line 2{message}: restore the file from a copy\n"


@pytest.mark.parametrize("change", [
  lambda launch: launch["end"].update(iterations="x"), lambda launch: launch["end"].pop("content_sha256"),
  lambda launch: launch.update(end=None), lambda launch: launch.update(packages=[]),
])  # fmt: skip
def test_a_damaged_launch_is_one_line_of_verify_and_of_a_resume(copy, change, capsys):
  edit_json(copy / "manifest.json", lambda manifest: change(manifest["launches"][0]))
  assert verify.main([str(copy), "--iterations=0"]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"rl_jax.verify: {copy}/manifest.json, launch 1") and line.endswith("from a copy")
  with pytest.raises(UserError, match="manifest.json, launch 1"):
    train(copy, 6)
