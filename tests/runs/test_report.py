"""The report: whole runs, poor runs, and a page that needs nothing but itself."""

import html.parser
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rl_jax import report as entry
from rl_jax.errors import UserError
from rl_jax.runs.directory import open_run
from rl_jax.runs.figures import MAX_POINTS, png, svg, thinned
from rl_jax.runs.manifest import append_launch
from rl_jax.runs.metrics import MetricsWriter
from rl_jax.runs.panels import is_constant, main_panels, other_panels
from rl_jax.runs.record import Series, collect, load
from rl_jax.runs.report import status, write_report
from rl_jax.runs.samples import write_samples
from tests.runs import fabricated

ROOT = Path(__file__).parents[2]
HOSTILE = '<script src="https://evil.example/x.js">alert(1)</script><img src=//evil.example> & "q" $x_1$ '
HOSTILE += "\x1b[31m\ud800\u202e\x9b"


def _run(path, config=None):
  return open_run(path, config or {}, "a", {})


def _filled(path, seeds=3, iterations=12, planned=12):
  run = _run(
    path, {"num_iterations": planned, "note": HOSTILE, "method": {"name": "grpo", HOSTILE: [1, {"a": HOSTILE}]}}
  )
  append_launch(run.manifest, fabricated.LAUNCH | {"command": ["python", HOSTILE]})
  writer = MetricsWriter(run, tensorboard=False)
  random = np.random.default_rng(0)
  for i in range(1, iterations + 1):
    names = ("reward", "response_length", "entropy", "gradient_norm", "loss/policy", "clip_fraction", "my_own/$metric_")
    writer.write("train", i, {name: random.uniform(0.1, 1, seeds) for name in names})
    writer.write_timings(i, {"tokens_per_second": 1e5, "iteration_seconds": 0.1})
    if i % 4 == 0:
      names = (
        "held_out/sampled_accuracy",
        "held_out/greedy_accuracy",
        "held_out/pass_at_4",
        "held_out/_<b>/sampled_accuracy",
      )
      writer.write("evaluation", i, {name: random.uniform(0, 1, seeds) for name in names})
      rows = [
        {"prompt": HOSTILE, "response": f"answer of {i} " + HOSTILE, "reward": None, "level": HOSTILE} for _ in range(2)
      ]
      write_samples(run, [{"iteration": i, "seed": seed, **row} for seed in range(seeds) for row in rows])
  run.close()
  return run


class _Page(html.parser.HTMLParser):
  """Tags, attributes and whether every tag that was opened was closed."""

  def __init__(self, text):
    super().__init__()
    self.tags, self.attributes, self.open, self.words = [], [], [], []
    self.feed(text)

  def handle_starttag(self, tag, attributes):
    self.tags.append(tag)
    self.attributes += attributes
    if tag not in ("meta", "br", "wbr"):
      self.open.append(tag)

  def handle_startendtag(self, tag, attributes):
    self.tags.append(tag)
    self.attributes += attributes

  def handle_endtag(self, tag):
    assert self.open.pop() == tag

  def handle_data(self, data):
    self.words.append(data)


def _checked(run):
  text = run.report_html.read_text()
  page = _Page(text)
  assert not page.open and not {"script", "img", "link", "iframe", "object", "image", "base"} & set(page.tags)
  for name, value in page.attributes:
    assert not name.startswith("on")
    if name in ("src", "href", "xlink:href", "data", "poster", "srcset", "action"):
      assert value.startswith("#"), value
  styles = " ".join(
    [*re.findall(r"<style[^>]*>(.*?)</style>", text, re.DOTALL), *(v for n, v in page.attributes if n == "style")]
  )
  assert "@import" not in styles and all(
    url.strip("\"'").startswith("#") for url in re.findall(r"url\((.*?)\)", styles)
  )
  assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]", text)
  assert run.report_png.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
  return text, page


def test_three_seeds(tmp_path):
  run = _filled(tmp_path / "x")
  assert write_report(run) == (run.report_png, run.report_html)
  text, page = _checked(run)
  record = load(run)
  final = record.series["evaluation"]["held_out/sampled_accuracy"].values[-1]
  assert f"held-out accuracy {final.mean():.3f} ±{final.std(ddof=1):.3f}" in text
  assert "12/12 iterations · 3 seeds" in text and "seed 2" in text
  assert "unscored" in text and "95 % over 3 seeds" in text
  assert "answer of 4 " in text and "answer of 12 " in text and "answer of 8 " not in text
  panels = main_panels(record) + other_panels(record)
  constant = [panel.title for panel in panels if is_constant(panel)]
  assert constant == ["Speed", "iteration_seconds"] and text.count("<svg") == len(panels) - len(constant)
  shown = "".join(page.words)  # and not obeyed
  assert '<script src="https://evil.example/x.js">' in shown and r"\x1b[31m\ud800\u202e\x9b" in shown
  assert [panel.title for panel in other_panels(record)] == ["iteration_seconds", "my_own/$metric_"]


def _sampled(path, credit):
  """The page of a run with a sample of each iteration, whose tokens got this."""
  with _run(path) as run:
    samples = [{"seed": i % 2, "prompt": f"p{i}", "response": "ab", "reward": 1.0} for i in range(len(credit))]
    tokens = [{"iteration": i, "tokens": ["a", "b"], "credit": credit[i]} for i in range(len(credit))]
    write_samples(run, [a | b for a, b in zip(samples, tokens, strict=True)])
    write_report(run)
    return _checked(run)[0].partition(">Credit<")[2]


def test_item_5_the_credit_table_shows_the_newest_samples_that_have_any(tmp_path):
  text = _sampled(tmp_path / "x", [[1.0, -1.0], [0.5, 0.0], [0.0, 0.0], [0.0, -2.0], [0.0, 0.0]])
  assert re.findall(r"p\d", text) == ["p3", "p1", "p0"] and "3 of 5 samples have any" in text


def test_item_5_samples_without_credit_are_a_line_of_text(tmp_path):
  text = _sampled(tmp_path / "x", [[0.0, 0.0]] * 3)
  assert "No sample has credit: every advantage is 0." in text and "<table" not in text.partition("<details")[0]


def test_item_6_accuracy_is_a_share_of_answers_and_pass_at_k_of_prompts(tmp_path):
  panels = {panel.title: panel for panel in main_panels(load(_filled(tmp_path / "x")))}
  accuracy, passed = panels["Held-out accuracy"], panels["Held-out pass@k"]
  assert (accuracy.unit, [curve.label for curve in accuracy.curves]) == ("share of answers", ["sampled", "greedy"])
  assert (passed.unit, [curve.label for curve in passed.curves]) == ("share of prompts", ["pass@4"])


@pytest.mark.parametrize("notebook", ["dense_rewards", "your_own_advantage"])
def test_item_6_notebooks_name_the_axis_alike(notebook):
  text = (ROOT / "notebooks" / f"{notebook}.ipynb").read_text()
  assert '\\"share of answers\\"' in text and "share of prompts" not in text


def test_item_7_curves_over_tokens_by_the_command(tmp_path, capsys):
  run = fabricated.run(tmp_path / "x")
  assert entry.main([str(run.path), "--across=tokens"]) == 0
  text, _ = _checked(run)
  assert "generated tokens per seed" in text and ">iteration</text>" not in text.partition("All metrics")[0]
  assert entry.main([str(_filled(tmp_path / "y").path), "--across=tokens"]) == 1
  assert "y has no generated_tokens for the axis of its curves: leave out --across=tokens" in capsys.readouterr().err


def test_item_8_hidden_columns_are_hinted_at(tmp_path):
  run = _filled(tmp_path / "x", iterations=4)
  write_report(run)
  text, _ = _checked(run)
  assert "background-attachment: local, local, scroll, scroll" in text and 'class="scroll"><table>' in text


def test_same_data_same_page(tmp_path):
  panels = main_panels(load(_filled(tmp_path / "x", iterations=4)))[:2]
  assert svg(panels[0]) == svg(panels[0]) and png(panels, "x") == png(panels, "x")


def test_one_seed_unfinished_with_a_torn_line(tmp_path):
  run = _filled(tmp_path / "x", seeds=1, iterations=5, planned=40)
  with run.metrics.open("ab") as file:
    file.write(b'{"kind": "train", "iter')
  write_report(run)
  text, _ = _checked(run)
  assert "5/40 iterations (unfinished) · 1 seed · " in text and "interval" not in text


def test_empty_run(tmp_path, capsys):
  _run(tmp_path / "x").close()
  assert entry.main([str(tmp_path / "x")]) == 0
  text, _ = _checked(_run(tmp_path / "x"))
  assert "no metrics yet" in text and "No samples." in text and "No manifest.json." in text
  assert capsys.readouterr().out == f"{tmp_path}/x/report.html\n{tmp_path}/x/report.png\n"


def test_one_point_and_no_finite_value(tmp_path):
  with _run(tmp_path / "x") as run:
    writer = MetricsWriter(run, tensorboard=False)
    values = {
      "reward": [math.nan] * 2,
      "entropy": [1.0, math.inf],
      "gradient_norm": [0.0, 0.0],
      "truncated": [2.0, 3.0],
    }
    writer.write("train", 0, values)
    write_report(run)
    text, _ = _checked(run)
  assert "no finite values" in text and "NaN" in text and "Rows without a full signal: truncated 2.500" in text


def test_only_timings_or_only_evaluation(tmp_path):
  for name in ("timings", "evaluation"):
    with _run(tmp_path / name) as run:
      writer = MetricsWriter(run, tensorboard=False)
      if name == "timings":
        writer.write_timings(1, {"tokens_per_second": 5.0})
      else:
        writer.write("evaluation", 0, {"held_out/sampled_accuracy": [0.5]})
      write_report(run)
      _checked(run)
      assert status(load(run)) == (
        "no metrics yet" if name == "timings" else "0 iterations · 1 seed · held-out accuracy 0.500"
      )


def test_series_and_thinning():
  lines = [
    {"kind": "train", "iteration": 2, "a": [1.0, 2.0]},
    {"kind": "train", "iteration": 1, "a": [3.0], "text": "x", "flag": [True]},
    {"kind": "train", "iteration": 2, "a": [5.0, 6.0]},
  ]
  (series,) = collect(lines)["train"].values()
  np.testing.assert_array_equal(series.iterations, [1, 2])
  np.testing.assert_array_equal(series.values, [[3.0, math.nan], [5.0, 6.0]])
  x = np.arange(MAX_POINTS * 2 + 1)
  thin = thinned(Series(x, np.stack([x, -x], 1).astype(float)))
  assert len(thin.iterations) <= MAX_POINTS
  np.testing.assert_array_equal(thin.values[0], [1.0, -1.0])  # mean of 0, 1, 2
  short = Series(x[:5], np.ones((5, 1)))
  assert thinned(short) is short


def test_figure_follows_the_page_colours(tmp_path):
  panels = main_panels(load(_filled(tmp_path / "x", iterations=4)))
  picture = svg(panels[0])
  assert "var(--c0)" in picture and "currentColor" in picture and not re.search(r"#[0-9a-f]{6}\b", picture)


def test_errors_are_one_line(tmp_path, capsys):
  assert entry.main([str(tmp_path / "nothing")]) == 1
  assert capsys.readouterr().err == f"rl_jax.report: {tmp_path}/nothing does not exist: give the --workdir of a run\n"
  run = _filled(tmp_path / "x", iterations=4)
  run.metrics.write_text("gibberish\n" + run.metrics.read_text())
  with pytest.raises(UserError, match="metrics.jsonl, line 1"):
    write_report(run)


def test_imports_neither_jax_nor_higher_floors():
  code = "import sys, rl_jax.report, rl_jax.runs.progress; print([m for m in sys.modules if m.split('.')[0] in "
  code += "('jax', 'flax', 'matplotlib', 'tensorboardX') or m.startswith(('rl_jax.methods', 'rl_jax.training.'))])"
  done = subprocess.run(
    [sys.executable, "-c", code],
    capture_output=True,
    text=True,
    check=True,
    cwd=entry.__file__[: -len("rl_jax/report.py")],
  )
  assert done.stdout == "['rl_jax.training.manifests']\n", "which says by the checkpoints whether the log is genuine"
