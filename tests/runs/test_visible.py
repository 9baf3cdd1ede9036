"""Characters that steer a screen: escapes on pages, in figures, in files for a terminal and in errors."""

from __future__ import annotations

import io
import json
import re
import sys

import pytest

from rl_jax import cite, curve, report
from rl_jax import list as listing
from rl_jax.errors import UserError
from rl_jax.runs.evaluations import text as evaluation_text
from rl_jax.runs.figures import png, svg
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.page import escape, table, tree
from rl_jax.runs.panels import main_panels, other_panels
from rl_jax.runs.progress import Progress
from rl_jax.runs.record import load
from rl_jax.runs.samples import write_samples
from rl_jax.runs.visible import encodable, say, visible
from tests.runs import fabricated

STEERING = [
  *map(chr, [0, 7, 8, 0x0B, 0x0D, 0x1B, 0x1F, 0x7F, 0x80, 0x85, 0x9B, 0x9F]),
  *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufdd0\ufffe\uffff",
  "\udc80",  # before the high ones: JSON would make pairs of them
  "\udfff",
  "\ud800",
  "\udbff",
]
HOSTILE = "".join(STEERING)
STEERS = re.compile(f"[{''.join(re.escape(c) for c in STEERING)}]")
ESCAPES = r"\x1b|\u202e|\ud800|\x9b".split("|")


@pytest.mark.parametrize(
  ("text", "shown"),
  [
    ("a\x1b[31mb", r"a\x1b[31mb"),
    ("\u202eevil", r"\u202eevil"),
    ("half \ud83d", r"half \ud83d"),
    ("two\nlines\tand\r", "two\nlines\tand\\r"),
    ("a\x00\x7f\x9b", r"a\x00\x7f\x9b"),
    (7, "7"),
  ],
)
def test_by_hand(text, shown):
  assert visible(text) == shown


@pytest.mark.parametrize("text", ["", "é 漢 ± 𝔘 👩‍🔬 می‌خواهم \u00a0\u00ad", "a\n\tb", r"\x1b", "👍🏽"])
def test_other_text_stays(text):
  assert visible(text) == text


@pytest.mark.parametrize("character", STEERING, ids=ascii)
def test_each_is_an_escape_everywhere(character):
  wanted = character.encode("unicode_escape").decode()
  assert visible(character, keep="") == escape(character) == wanted and wanted.isascii()
  assert visible(f"a{character}b{character}") == f"a{wanted}b{wanted}"


def test_one_line_keeps_nothing():
  assert visible("a\n\tb", keep="") == r"a\n\tb"
  assert "\n" not in str(UserError("no metric 'a\nb\x1b'")) and r"a\nb\x1b" in str(UserError("no metric 'a\nb\x1b'"))


def test_a_stream_gets_what_its_encoding_holds(monkeypatch):
  assert encodable("é ±1", "ascii") == "\\xe9 +-1" and encodable("é ±1", "utf-8") == encodable("é ±1", None) == "é ±1"
  narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
  monkeypatch.setattr(sys, "stdout", narrow)
  say("é \ud800\x1b")
  narrow.flush()
  assert narrow.buffer.getvalue() == b"\\xe9 \\ud800\\x1b\n"


def test_tables_and_trees_of_a_page():
  page = table([(HOSTILE, "text")], [[HOSTILE]]) + tree({HOSTILE: {HOSTILE: [HOSTILE, {"a": HOSTILE}]}})
  assert not STEERS.search(page) and all(name in page for name in ESCAPES)


@pytest.fixture
def run(tmp_path):
  """A run of hostile names: its folder, its metrics, its levels, its samples, its command."""
  name = f"run \x1b[31m \udce9 \u202e {HOSTILE.encode('utf-8', 'ignore').decode().replace(chr(0), '')}"
  launch = {"command": ["python", HOSTILE], "git_commit": HOSTILE, "started": "2026-03-01"}
  made = fabricated.run(tmp_path / name, seeds=2, launches=(launch,))
  values = {"held_out/sampled_accuracy": [0.5, 0.5], f"held_out/{HOSTILE}/sampled_accuracy": [0.5, 0.5]}
  writer = MetricsWriter(made)
  writer.write("evaluation", 9, values)
  writer.write("train", 9, {f"own {HOSTILE}": [1.0, 2.0], f"loss/{HOSTILE}": [1.0, 2.0]})
  writer.close()
  sample = {"prompt": HOSTILE, "response": HOSTILE, "reward": 1.0, "level": HOSTILE, "tokens": [HOSTILE], "credit": [1]}
  write_samples(made, [{"iteration": 9, "seed": 0, **sample}])
  return made


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # the names are wider than a figure
def test_report_and_comparison_of_hostile_names(run, tmp_path, capsys):
  other = fabricated.run(tmp_path / "other")
  assert report.main([str(run.path)]) == 0
  assert report.main([str(run.path), str(other.path), f"--output={tmp_path / 'both'}"]) == 0
  for path in (run.report_html, tmp_path / "both.html"):
    page = path.read_text(encoding="utf-8")
    assert not STEERS.search(page) and r"\x1b[31m" in page and r"\udce9" in page, path
  told = capsys.readouterr()
  assert not STEERS.search(told.out + told.err)


@pytest.mark.filterwarnings("ignore:constrained_layout not applied")  # the names are wider than a figure
def test_figures_of_hostile_names(run):
  record = load(run)
  panels = main_panels(record) + other_panels(record)
  drawn = [svg(panel) for panel in panels if STEERS.search(panel.title + "".join(c.label for c in panel.curves))]
  assert len(drawn) >= 3 and not STEERS.search("".join(drawn)) and all(name in "".join(drawn) for name in ESCAPES)
  assert png(panels[:1], record.name).startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["text", "bibtex", "json"])
def test_a_citation_of_hostile_names(run, capsys, form):
  assert cite.main([str(run.path), f"--format={form}"]) == 0
  out = capsys.readouterr().out
  assert not STEERS.search(out)
  if form == "json":
    assert json.loads(out)["runs"][0]["name"] == run.path.name, "JSON keeps the characters, as its own escapes"
  elif form == "text":
    assert out.count("\n") < 8 and r"\x1b[31m \udce9 \u202e" in out
  else:
    assert out.count("{") == out.count("}") and r"\textbackslash{}x1b[31m" in out


def test_a_curve_of_hostile_names(run, capsys):
  name = f"own {HOSTILE}"
  assert curve.main([str(run.path), f"--metrics={name}"]) == 0
  out = capsys.readouterr().out
  assert not STEERS.search(out) and list(json.loads(out)["curves"]) == [name]
  assert curve.main([str(run.path), "--metrics", "\x1b[31mnone"]) == 1
  line = capsys.readouterr().err
  assert not STEERS.search(line) and line.count("\n") == 1 and r"has no metric '\x1b[31mnone'" in line


def test_lines_of_a_terminal(capsys, monkeypatch):
  stream = io.StringIO()
  Progress(1, stream).message(f"note {HOSTILE}\nsecond line")
  assert not STEERS.search(stream.getvalue()) and stream.getvalue().count("\n") == 2
  monkeypatch.setitem(listing.KINDS, "methods", lambda: [listing.Entry("x", HOSTILE, ())])
  assert listing.main(["methods"]) == 0
  assert not STEERS.search(capsys.readouterr().out)
  estimate = {"value": 0.5, "low": 0.4, "high": 0.6}
  record = {
    "what": HOSTILE, "problems": {"ids": [1]}, "seeds": [0], "samples_per_prompt": 1, "unscored": 0.0,
    "truncated": 0.0, "response_length": 1.0, "tokens_per_second": 1.0,
    "summary": {"pass_at": {"1": estimate}, "levels": {HOSTILE: {"problems": 1, "pass_at": {"1": estimate}}}},
  }  # fmt: skip
  assert not STEERS.search(evaluation_text(record))
