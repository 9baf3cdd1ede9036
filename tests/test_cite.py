"""How a run is cited, and that each paper that a method names is known."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

from rl_jax import cite, curve, report
from rl_jax.runs import papers
from rl_jax.runs.citation import latex
from rl_jax.runs.record import load
from tests.runs import fabricated

METHODS = Path(cite.__file__).parent / "methods"


def said(capsys, *arguments: object) -> str:
  assert cite.main([str(argument) for argument in arguments]) == 0
  return capsys.readouterr().out


def entries(bibtex: str) -> dict[str, dict[str, str]]:
  """Fields by key of each entry; also checks that braces are balanced."""
  assert bibtex.count("{") == bibtex.count("}")
  found = {}
  for key, body in re.findall(r"^@misc\{(\S+),\n(.*?)^\}$", bibtex, re.DOTALL | re.MULTILINE):
    found[key] = dict(re.findall(r"^  (\w+) = \{(.*)\},$", body, re.MULTILINE))
  return found


def test_bibtex_of_a_run_and_of_its_paper(tmp_path, capsys):
  run = fabricated.run(tmp_path / "my_run", seeds=3, gain=0.4)
  content = load(run).content
  found = entries(said(capsys, run.path))
  assert list(found) == [f"rl_jax:{content[:12]}", "shao2024deepseekmath"]
  fields = found[f"rl_jax:{content[:12]}"]
  assert fields["note"].startswith(r"Held-out accuracy 0.700 $\pm$0.020 (3 seeds, 8 iterations). Content " + content)
  assert fabricated.LAUNCH["git_commit"] in fields["note"] and "uncommitted" not in fields["note"]
  assert fields["howpublished"] == (r"\texttt{python -m rl\_jax.train --config=experiments/grpo.py --workdir=runs/a}")
  assert (fields["year"], fields["month"]) == ("2026", "03") and r"my\_run" in fields["title"]
  paper = found["shao2024deepseekmath"]
  assert paper["eprint"] == "2402.03300" and paper["author"].endswith(" and others")


def test_baselines_add_their_runs_and_papers_once(tmp_path, capsys):
  run = fabricated.run(tmp_path / "a")
  base = fabricated.run(tmp_path / "b", launches=({"papers": ["2402.03300", "2402.14740", "2699.00001"]},))
  found = entries(said(capsys, run.path, f"--with={base.path}"))
  assert list(found)[2:] == ["shao2024deepseekmath", "ahmadian2024back", "arxiv:2699.00001"]
  authors = found["ahmadian2024back"]["author"]
  assert authors.count(" and ") == 7 and r"Gall{\'{e}}" in authors
  assert found["arxiv:2699.00001"] == {"eprint": "2699.00001", "archivePrefix": "arXiv"}


def test_text_and_json_say_the_same(tmp_path, capsys):
  run = fabricated.run(tmp_path / "a", gain=0.4)
  text = said(capsys, run.path, "--format=text")
  assert "a (" in text and "held-out accuracy 0.700 ±0.016 (5 seeds, 8 iterations)" in text
  assert "Zhihong Shao, Peiyi Wang, Qihao Zhu, Runxin Xu, Junxiao Song and others: DeepSeekMath" in text
  record = json.loads(said(capsys, run.path, "--format=json"))
  assert record["runs"][0]["content_sha256"] == load(run).content
  assert abs(record["runs"][0]["mean"] - 0.7) < 1e-12 and record["papers"][0]["arxiv"] == "2402.03300"


def test_uncommitted_changes_and_several_commits_are_told(tmp_path, capsys):
  dirty = {"git_clean": False, "uncommitted_sha256": "ab" * 32}
  run = fabricated.run(tmp_path / "a", launches=({}, dirty | {"git_commit": "d" * 40}))
  note = "run with uncommitted changes (SHA-256 abababababab): the commit alone does not give this number"
  text = said(capsys, run.path, "--format=text")
  assert f"note: {note}" in text and "note: its launches were of 2 commits" in text
  assert note[1:] in said(capsys, run.path)


def test_what_cannot_be_cited_is_one_line(tmp_path, capsys):
  assert cite.main([str(tmp_path / "nothing")]) == 1
  assert capsys.readouterr().err == f"rl_jax.cite: {tmp_path}/nothing does not exist: give the --workdir of a run\n"
  run = fabricated.run(tmp_path / "a")
  run.manifest.unlink()
  assert cite.main([str(run.path)]) == 1
  assert "there is nothing to cite yet" in capsys.readouterr().err


def test_a_run_without_evaluation_or_papers(tmp_path, capsys):
  run = fabricated.run(tmp_path / "a", launches=({"papers": []},))
  run.metrics.write_bytes(b"")
  assert "Held-out accuracy was not measured" in said(capsys, run.path)
  assert json.loads(said(capsys, run.path, "--format=json"))["papers"] == []


def test_a_forged_log_is_told_wherever_it_is_published(tmp_path, capsys):
  runs = [fabricated.run(tmp_path / name) for name in "ab"]
  text = runs[0].metrics.read_text()
  runs[0].metrics.write_text(text.replace("0.", "1.", 1))
  fault = "the log has changed since its launch ended 2026-03-01T10:05:00+00:00: content "
  for module, arguments in (
    (cite, ["--format=json"]),
    (curve, ["--metrics=reward"]),
    (report, []),
    (report, [str(runs[1].path)]),
  ):
    name = module.__name__
    assert module.main([str(runs[0].path), *arguments]) == 0
    out, error = capsys.readouterr()
    assert error.startswith(f"{name}: warning: {runs[0].path}: {fault}") and len(error.splitlines()) == 1
    if module is cite:
      (note,) = json.loads(out)["runs"][0]["notes"]
      assert note.startswith(f"not as recorded ({fault}")
  assert f'<p class="warning">This run is not as recorded: {fault}' in runs[0].report_html.read_text()
  assert f'<p class="warning">a is not as recorded: {fault}' in (tmp_path / "comparison.html").read_text()
  for module, arguments in ((cite, []), (curve, ["--metrics=reward"]), (report, [])):
    assert module.main([str(runs[1].path), *arguments]) == 0
    out, error = capsys.readouterr()
    assert not error and "not as recorded" not in out
  assert "not as recorded" not in runs[1].report_html.read_text()


def test_latex_escapes():
  assert latex(r"a_b & 50% {x} \y ~^ ±") == (
    r"a\_b \& 50\% \{x\} \textbackslash{}y \textasciitilde{}\textasciicircum{} $\pm$"
  )
  assert latex("Gallé Üstün") == r"Gall{\'{e}} {\"{U}}st{\"{u}}n"


def test_every_paper_of_a_method_is_known():
  named = set()
  for path in METHODS.glob("*.py"):
    for node in ast.walk(ast.parse(path.read_text())):
      if isinstance(node, ast.keyword) and node.arg == "papers":
        constants = [n.value for n in ast.walk(node.value) if isinstance(n, ast.Constant)]
        named |= {value for value in constants if isinstance(value, str)}
  assert len(named) >= 12 and named <= set(papers.known())
  keys = [paper.key for paper in papers.known().values()]
  assert len(set(keys)) == len(keys)
