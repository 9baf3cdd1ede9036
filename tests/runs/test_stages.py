"""Stages of a run, found by what its launches started from, in its page and in its citation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from rl_jax import cite, report
from rl_jax.errors import UserError
from rl_jax.runs.directory import find_run
from rl_jax.runs.manifest import append_launch, end_launch, read_launches
from rl_jax.runs.stages import stages, starts
from tests.runs import fabricated


def sha(name: str) -> str:
  """Hash of the checkpoint that a stage of this name leaves."""
  return name.encode().hex().ljust(64, "0")[:64]


def stage(path: Path, policy: str = "", teacher: str = "", papers=()):
  """A run beside its stages, or one of these, with the checkpoint that it leaves."""
  folder = path.parent if path.parent.name == "stages" else path.parent / "stages"
  launch: dict = {"papers": list(papers)}
  if policy:
    launch |= {"started_from": str(folder / policy), "start_sha256": sha(policy)}
  if teacher:
    launch["models_started_from"] = {"teacher": [str(folder / teacher), sha(teacher)]}
  return fabricated.run(path, seeds=1, launches=(launch,))


def left(run, digest: str) -> None:
  """Let the end of a run vouch for a checkpoint of this hash."""
  end_launch(run.manifest, read_launches(run.manifest)[-1]["end"] | {"checkpoints": {"8": digest}})


@pytest.fixture
def chain(tmp_path):
  """start -> bridge -> mine, with a teacher of two of them, which has a start of its own."""
  folder = tmp_path / "runs" / "stages"
  stage(folder / "start")
  stage(folder / "pupil")
  stage(folder / "teacher", "pupil", papers=["2402.03300"])
  stage(folder / "bridge", "start", "teacher", papers=["2605.12483"])
  return stage(tmp_path / "runs" / "mine", "bridge", "teacher", papers=["2402.14740"])


def test_each_is_named_once_after_those_that_it_starts_from(chain):
  found = stages(chain)
  assert [one.name for one in found] == ["start", "pupil", "teacher", "bridge"]
  assert all(one.directory is not None and one.directory.path.name == one.name for one in found)
  assert stages(find_run(chain.path.parent / "stages" / "start")) == []


def test_a_start_in_words(chain):
  policy, teacher = starts(read_launches(chain.manifest))
  assert policy.text == f"policy from bridge (checkpoint {sha('bridge')[:12]})"
  assert (teacher.role, Path(teacher.origin).name) == ("teacher", "teacher")


def test_a_launch_that_resumes_has_the_starts_of_the_one_before(chain):
  append_launch(chain.manifest, fabricated.LAUNCH | {"resumed_from": 4})
  assert len(starts(read_launches(chain.manifest))) == 2


def test_a_folder_that_was_moved_has_its_stages_beside_it(chain, tmp_path):
  shutil.move(chain.path.parent, tmp_path / "elsewhere")
  found = stages(find_run(tmp_path / "elsewhere" / "mine"))
  assert [one.name for one in found] == ["start", "pupil", "teacher", "bridge"]
  assert {one.directory.path.parent.parent.name for one in found if one.directory} == {"elsewhere"}


def test_a_stage_that_was_trained_anew_is_not_the_one_that_it_was(chain, capsys):
  bridge = find_run(chain.path.parent / "stages" / "bridge")
  left(bridge, sha("bridge"))
  assert stages(chain)[-1].directory is not None
  left(bridge, "f" * 64)
  assert [(one.name, one.directory is None) for one in stages(chain)] == [
    ("bridge", True), ("pupil", False), ("teacher", False)
  ]  # fmt: skip
  assert cite.main([str(chain.path), "--format=text"]) == 0
  assert "note: stage bridge is gone, or is no longer what this run started from" in capsys.readouterr().out
  assert report.main([str(chain.path)]) == 0
  assert "gone, or no longer what the run started from" in chain.report_html.read_text()


def test_a_pretrained_checkpoint_is_no_stage(tmp_path):
  launch = {"started_from": "models/qwen3-1.7b", "start_sha256": "a" * 64}
  run = fabricated.run(tmp_path / "x", launches=(launch,))
  assert stages(run) == []


def test_a_page_shows_them_in_their_order(chain, capsys):
  assert report.main([str(chain.path)]) == 0
  capsys.readouterr()
  text = chain.report_html.read_text().replace("<wbr>", "")
  section = text[text.index("<h2>Stages</h2>") : text.index("<h2>Curves</h2>")]
  rows = section.split("<tr>")[2:]
  assert [row.split("</td>")[0].rpartition(">")[2] for row in rows] == [
    "start", "pupil", "teacher", "bridge", "this run, mine"
  ]  # fmt: skip
  assert "random parameters" in rows[0] and "2605.12483" in rows[3]
  assert f"policy from start (checkpoint {sha('start')[:12]})" in rows[3] and "teacher from teacher" in rows[3]
  assert section.count("<svg") == 5 and "0.280" in rows[0] and "8,000" in rows[0]


def test_a_run_without_stages_has_no_section(tmp_path):
  run = fabricated.run(tmp_path / "x")
  assert report.main([str(run.path)]) == 0
  assert "Stages" not in run.report_html.read_text()


def test_a_page_is_made_though_a_stage_cannot_be_read(chain):
  (chain.path.parent / "stages" / "start" / "metrics.jsonl").write_text("gibberish\n{}\n")
  with pytest.raises(UserError):
    report.write_report(find_run(chain.path.parent / "stages" / "start"))
  report.write_report(chain)
  assert "this run, mine" in chain.report_html.read_text().replace("<wbr>", "")


def test_a_citation_names_papers_and_start_of_each(chain, capsys):
  assert cite.main([str(chain.path), "--format=text"]) == 0
  text = capsys.readouterr().out
  assert f"  policy from bridge (checkpoint {sha('bridge')[:12]}), teacher from teacher (" in text
  lines = [line for line in text.splitlines() if line.startswith("  stage ")]
  assert [line.split()[1] for line in lines] == ["start", "pupil", "teacher", "bridge"]
  assert "arXiv:2605.12483" in lines[3] and f"policy from start (checkpoint {sha('start')[:12]})" in lines[3]
  assert lines[0].endswith("from random parameters")
  papers = [line.rpartition("arXiv:")[2] for line in text.splitlines() if not line.startswith("  ")][1:]
  assert papers == ["2402.14740", "2402.03300", "2605.12483"]
  assert cite.main([str(chain.path), "--format=json"]) == 0
  (run,) = json.loads(capsys.readouterr().out)["runs"]
  assert [one["name"] for one in run["stages"]] == ["start", "pupil", "teacher", "bridge"]
  assert run["stages"][3]["papers"] == ["2605.12483"] and run["stages"][3]["starts"][1].startswith("teacher from ")
  assert cite.main([str(chain.path)]) == 0
  assert "Stage bridge (" in capsys.readouterr().out


def test_a_forged_stage_is_told(chain, capsys):
  start = find_run(chain.path.parent / "stages" / "start")
  start.metrics.write_text(start.metrics.read_text().replace("0.", "1.", 1))
  assert cite.main([str(chain.path), "--format=text"]) == 0
  out, error = capsys.readouterr()
  assert error.startswith(f"rl_jax.cite: warning: {start.path}: the log has changed") and len(error.splitlines()) == 1
  assert "note: not as recorded (stage start: the log has changed" in out
