"""Runs made again: one tiny run, whole and tampered with, as a folder and as a committed curve."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from rl_jax import verify
from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import launch, recorded
from rl_jax.launching.launch import Terminal
from rl_jax.launching.recorded import RecordedRun
from rl_jax.launching.stop import Stop
from rl_jax.runs.content import content_sha256
from rl_jax.runs.curve import curve
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import write_json
from rl_jax.runs.metric_names import ACCURACY
from tests import commands

ROOT = Path(__file__).parents[1]
EXPERIMENT = ROOT / "experiments" / "grpo.py"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
  """Four iterations that move the policy, from a warm start."""
  folder = tmp_path_factory.mktemp("verified") / "run"
  overrides = [*commands.SMALL, "num_seeds=1", "evaluation.greedy=False"]
  arguments = commands.flags(f"{EXPERIMENT}:smoke", folder, *overrides)
  config = configs.resolve(f"{EXPERIMENT}:smoke", overrides)
  launch.train(config, folder, Terminal(["python", "-m", "rl_jax.train", *arguments], io.StringIO(), Stop()))
  commands.assert_moved(folder)
  return folder


@pytest.fixture
def copy(run, tmp_path) -> Path:
  return shutil.copytree(run, tmp_path / "run")


def said(capsys, status: int, *arguments: object) -> str:
  assert verify.main([str(argument) for argument in arguments]) == status
  return capsys.readouterr().out


def edit(file: Path, change) -> None:
  content = json.loads(file.read_text())
  change(content)
  write_json(file, content)


@pytest.mark.integration
def test_a_run_is_made_again_to_the_bit_from_its_start(run, capsys):
  before = sorted(path for path in run.parent.rglob("*"))
  assert verify.main([str(run)]) == 0
  out, progress = capsys.readouterr()
  assert progress.splitlines()[-1].startswith("iteration 4/4 | reward ")
  assert out.startswith(f"{run}: 4 of 4 iterations made again: ") and out.endswith(" numbers, bit-identical\n")
  assert sorted(path for path in run.parent.rglob("*")) == before, "nothing is written beside the run"


@pytest.mark.slow
@pytest.mark.integration
def test_a_committed_curve_is_made_again_with_its_stage_as_far_as_asked(run, capsys, tmp_path, monkeypatch):
  file = tmp_path / "curve.json"
  write_json(file, curve(find_run(run), [ACCURACY, "entropy"]))
  monkeypatch.chdir(tmp_path)  # no runs/stages here
  out = said(capsys, 0, file, "--iterations=2")
  assert "its start is made again" in out and "2 of 4 iterations made again: 4 numbers, bit-identical" in out


def test_a_launch_records_what_a_reader_needs(run):
  (entry,) = json.loads((run / "manifest.json").read_text())["launches"]
  assert entry["identity"] == json.loads((run / "identity.json").read_text())["identity"]
  assert entry["papers"] == ["2402.03300"] and entry["data_fingerprint"] == ""
  assert entry["settings"]["jax_enable_x64"] is False
  for name in ("identity.json", "config.json", "method.py"):
    assert entry["files"][name] == hashlib.sha256((run / name).read_bytes()).hexdigest()
  end = entry["end"]
  manifests = {path.parent.name: path.read_bytes() for path in (run / "checkpoints").glob("*/manifest.json")}
  assert end["checkpoints"] == {step: hashlib.sha256(content).hexdigest() for step, content in manifests.items()}
  assert end["iterations"] == 4 and end["finished"] is True and end["wall_seconds"] > 0
  assert end["content_sha256"] == content_sha256(find_run(run))


@pytest.mark.parametrize("name", ["metrics.jsonl", "samples.jsonl"])
def test_a_tampered_log_is_caught(copy, name, capsys):
  assert "the log is as its launch left it" in said(capsys, 0, copy, "--iterations=0")
  text = (copy / name).read_text()
  (copy / name).write_text(text.replace("0.", "1.", 1))
  assert "the log has changed since its launch ended" in said(capsys, 1, copy, "--iterations=0")


def without(run: Path, *fields: str) -> None:
  """The record of a version that did not write these fields of a launch."""
  edit(run / "manifest.json", lambda manifest: [manifest["launches"][0].pop(field) for field in fields])


def test_what_has_changed_since_is_told(copy):
  without(copy, "end", "files", "identity")
  (copy / "method.py").write_text("# another\n")
  digest = hashlib.sha256(b"# another\n").hexdigest()
  edit(copy / "manifest.json", lambda m: m["launches"][0].update(method_sha256=digest))
  edit(copy / "identity.json", lambda content: content.update(identity="other"))
  (record,) = recorded.read(copy)
  assert record.notes == [
    "the config is not what it was: its fields or their defaults have changed since",
    "the source of rl_jax.methods.grpo has changed since (method_sha256)",
  ]
  assert record.faults == [] and record.iterations == 4


def test_a_method_file_that_is_gone_is_taken_from_the_run(copy):
  without(copy, "files", "end")
  edit(copy / "config.json", lambda config: config["method"].update(name="gone.py"))
  (record,) = recorded.read(copy)
  assert record.config.method.name == f"{copy}/method.py" and "gone.py is missing" in record.notes[0]


def test_an_entry_of_a_study_is_read_with_its_overrides(tmp_path):
  study = {
    "overrides": ["num_seeds=2"],
    "final_overrides": ["evaluation.greedy=False"],
    "token_budget": 300,
    "entries": {"grpo": {"config": f"{EXPERIMENT}:smoke", "overrides": ["seed=7"]}},
  }
  entry = {"chosen": ["learning_rate=0.002"], "iterations": [0, 2], "values": {ACCURACY: [[0.1, 0.2], [0.3, 0.4]]}}
  write_json(tmp_path / "s.json", {"study": study, "entries": {"grpo": entry | {"identity": "x"}}})
  (record,) = recorded.read(tmp_path / "s.json")
  config = record.config
  assert (config.seed, config.num_seeds, config.learning_rate, config.num_tokens) == (7, 2, 0.002, 300)
  assert record.lines["evaluation", 2][ACCURACY] == [0.3, 0.4] and record.rounded(0.123456) == 0.12346
  assert [found.name for found in recorded.read(tmp_path / "s.json", [record.name.split()[-1]])] == [record.name]
  with pytest.raises(UserError, match="has no entry nobody, none"):
    recorded.read(tmp_path / "s.json", ["nobody", "none"])


def test_finding_6_a_curve_with_what_was_not_scored_is_read_as_it_was(run, tmp_path):
  saved = curve(find_run(run), [ACCURACY])
  saved["curves"][ACCURACY]["seeds"][0] = [float("nan")]
  write_json(tmp_path / "curve.json", saved)
  (record,) = recorded.read(tmp_path / "curve.json")
  assert np.isnan(record.lines["evaluation", 0][ACCURACY]).all()


def test_what_is_no_result_is_one_line(tmp_path, capsys):
  (tmp_path / "x.json").write_text("[]")
  assert verify.main([str(tmp_path / "x.json"), str(tmp_path / "nothing")]) == 1
  first, second = capsys.readouterr().err.splitlines()
  assert first.startswith(f"rl_jax.verify: {tmp_path}/x.json holds no results")
  assert "does not exist: give the --workdir of a run" in second


CURVES = {"command": ["python", "-m", "rl_jax.train", "--config=grpo:smoke"], "identity": "x"}
PLAN = {"config": "grpo", "overrides": []}
STUDY = {"overrides": [], "final_overrides": [], "token_budget": 300, "entries": {"a": PLAN}}
ENTRY = {"identity": "x", "chosen": [], "iterations": [1], "values": {"reward": [[0.5]]}}
DAMAGED_RESULTS = {
  "command": (CURVES | {"curves": {}, "command": 3}, ", 'command': want a list, each text, got 3"),
  "help": (CURVES | {"curves": {}, "command": ["", "", "", "--help"]}, ", 'command' asks for help and trains nothing"),
  "no identity": ({"curves": {}, "command": []}, " has no field 'identity'"),
  "curves": (CURVES | {"curves": []}, ", 'curves': want a value by name, got []"),
  "curve": (CURVES | {"curves": {"reward": 1}}, ", curve reward is not a JSON object"),
  "seeds": (
    CURVES | {"curves": {"reward": {"iterations": [1], "seeds": []}}},
    ", curve reward has 0 points for 1 iterations",
  ),
  "seed": (
    CURVES | {"curves": {"reward": {"iterations": [1], "seeds": [["x"]]}}},
    ", curve reward, 'seeds': want a list, each a list, each a number, which may be NaN, got [['x']]",
  ),
  "study": ({"study": [], "entries": []}, ", 'study': want a value by name, got []"),
  "entries": ({"study": STUDY}, " has no field 'entries'"),
  "overrides": ({"study": {"entries": {}}, "entries": {"a": 1}}, ", study has no field 'overrides'"),
  "entry": ({"study": STUDY, "entries": {"a": 1}}, ", entry a is not a JSON object"),
  "values": ({"study": STUDY, "entries": {"a": ENTRY | {"values": []}}}, ", entry a, 'values': want a list, each a li"),
  "points": (
    {"study": STUDY, "entries": {"a": ENTRY | {"iterations": []}}}, ", entry a, 'reward' has 1 points for 0 iterations"
  ),
  "plan": (
    {"study": STUDY | {"entries": {"a": 1}}, "entries": {"a": ENTRY}}, ", entry a of the study is not a JSON object"
  ),
}  # fmt: skip
"""By name: what a file of results holds, and what is said of it."""


@pytest.mark.parametrize("name", DAMAGED_RESULTS)
def test_a_damaged_file_of_results_is_one_line(tmp_path, name, capsys):
  saved, message = DAMAGED_RESULTS[name]
  (tmp_path / "x.json").write_text(json.dumps(saved))
  assert verify.main([str(tmp_path / "x.json")]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line.startswith(f"rl_jax.verify: {tmp_path}/x.json{message}") and line.endswith("restore the file from a copy")


def test_an_entry_that_its_study_does_not_know_is_one_line(tmp_path, capsys):
  (tmp_path / "x.json").write_text(json.dumps({"study": STUDY, "entries": {"b": ENTRY}}))
  assert verify.main([str(tmp_path / "x.json")]) == 1
  (line,) = capsys.readouterr().err.splitlines()
  assert line == f"rl_jax.verify: {tmp_path}/x.json, entry b is not in the study (there are: a)"


def record_of(lines: list[dict], complete: bool = True) -> RecordedRun:
  by_key = {(line["kind"], line["iteration"]): line for line in lines}
  config = configs.resolve(f"{EXPERIMENT}:smoke", ["init_from="])
  return RecordedRun("r", config, [], by_key, None, complete, None, [], [])


EVALUATION = {"kind": "evaluation", "iteration": 0, ACCURACY: [0.4, 0.5]}
TRAIN = [{"kind": "train", "iteration": i, "reward": [0.5, 0.25 * i]} for i in (1, 2)]


def test_on_the_same_platform_the_first_departure_is_named():
  record = record_of([EVALUATION, *TRAIN])
  compare = lambda lines: verify.compare(record, iter(lines), 2, [], True)
  assert compare([EVALUATION, *TRAIN]) == (True, "2 of 2 iterations made again: 6 numbers, bit-identical")
  agrees, text = compare([EVALUATION, TRAIN[0], TRAIN[1] | {"reward": [0.5, 0.5000001]}])
  assert not agrees and text.startswith("departs at iteration 2, train reward, seed 1: 0.5 recorded, 0.5000001 here")


def test_a_line_that_the_record_lost_is_named():
  record = record_of([EVALUATION, TRAIN[1]])
  assert verify.compare(record, iter([EVALUATION, *TRAIN]), 2, [], True) == (
    False,
    "the record has no train line of iteration 1",
  )
  assert verify.compare(record._replace(complete=False), iter([EVALUATION, *TRAIN]), 2, [], True).agrees


def test_elsewhere_the_first_iteration_is_tight_and_the_accuracy_within_the_seed_spread():
  record = record_of([EVALUATION, *TRAIN])
  near = TRAIN[0] | {"reward": [0.5005, 0.25]}
  far = TRAIN[0] | {"reward": [0.51, 0.25]}
  moved = EVALUATION | {ACCURACY: [0.5, 0.55]}
  compare = lambda lines, same: verify.compare(record, iter(lines), 2, ["jax: 1, here 2"], same)
  agrees, text = compare([moved, near, TRAIN[1] | {"reward": [9.0, 9.0]}], True)
  assert agrees and "in another setting: iteration 1 within 0.001, held-out accuracy of iteration 0" in text
  assert "train reward, seed 0: 0.5 recorded, 0.51 here" in compare([moved, far], True).text
  assert compare([moved, far], False).agrees, "after another start the first iteration says nothing"
  # 2 (0.0707 + 0.5 / sqrt(32)) = 0.318 around 0.45
  assert not compare([EVALUATION | {ACCURACY: [0.8, 0.8]}, near], True).agrees
  assert not compare([], True).agrees, "nothing compared is no agreement"


@pytest.mark.parametrize("form", [["{e}:smoke"], ["{e}:smoke", "--workdir=runs/x"], ["--config={e}:smoke"]])
def test_a_curve_is_read_whatever_form_its_command_had(form, run, tmp_path):
  saved = curve(find_run(run), [ACCURACY])
  saved["command"] = ["python", "-m", "rl_jax.train", *(part.format(e=EXPERIMENT) for part in form)]
  write_json(tmp_path / "curve.json", saved)
  (record,) = recorded.read(tmp_path / "curve.json")
  assert record.config.method.name == "rl_jax.methods.grpo"


def test_what_verify_would_pass_over_is_refused(run, capsys):
  assert verify.main([str(run), "--only=x"]) == 1
  assert "is not a study: it has no entries to select x of" in capsys.readouterr().err
  assert verify.main([str(run), "--iterations=-3"]) == 1
  assert "--iterations=-3: 0 looks at the log alone" in capsys.readouterr().err


def test_a_changed_default_is_compared_within_a_tolerance(run, tmp_path, capsys):
  """The record's numbers are of another config: the bits are not promised, but what comes of it is."""
  saved = curve(find_run(run), [ACCURACY, "entropy"])
  write_json(tmp_path / "curve.json", saved | {"identity": "0" * 64})
  out = said(capsys, 0, tmp_path / "curve.json", "--iterations=2")
  assert "not in the same setting (fields or defaults of the config)" in out
  assert "2 of 4 iterations made again in another setting: " in out
