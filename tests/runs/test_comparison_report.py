"""Several runs on one page."""

from __future__ import annotations

import json

import pytest

from rl_jax import report
from rl_jax.runs.comparison_report import panels_of, write_comparison
from rl_jax.runs.intervals import wilson
from rl_jax.runs.record import load
from tests.runs import fabricated
from tests.runs.fabricated import CONFIG


@pytest.fixture
def runs(tmp_path):
  return [
    fabricated.run(tmp_path / "grpo", gain=0.4, tokens=1000),
    fabricated.run(tmp_path / "prime", gain=0.6, tokens=2000, config={"method": {"name": "rl_jax.methods.prime"}}),
  ]


def text_of(*runs):
  return write_comparison(runs)[1].read_text()


def test_accuracy_over_tokens(runs):
  records = {run.path.name: load(run) for run in runs}
  panels = panels_of(records)
  assert [panel.title for panel in panels] == [
    "Held-out accuracy: sampled", "Held-out accuracy: sampled", "Credit against the truth: rank_correlation",
    "Credit against the truth: unexplained", "Training reward: reward", "Response length: training",
    "Entropy of the policy",
  ]  # fmt: skip
  assert panels[1].across == "generated tokens per seed" and [c.label for c in panels[1].curves] == ["grpo", "prime"]
  assert panels[1].curves[1].series.iterations.tolist() == [0, 4000, 8000, 12000, 16000]
  assert {panel.across for panel in panels_of(records, panels[1].across)} == {panels[1].across}


def test_the_page_holds_curves_table_and_samples_side_by_side(runs, tmp_path):
  picture, html = write_comparison(runs)
  assert (picture, html) == (tmp_path / "comparison.png", tmp_path / "comparison.html")
  text = html.read_text()
  assert picture.read_bytes().startswith(b"\x89PNG") and text.count("<svg") == 7 and "http" not in text
  # At the 8000 tokens of the shorter run prime is at 0.3 + 0.6 sqrt(1/2); five seeds two hundredths around it.
  assert "at 8.0k tokens" in text and "minus grpo, at 8.0k tokens" in text
  assert "0.700 [0.6" in text and f"{0.3 + 0.6 * 0.5**0.5:.3f} [0.7" in text
  assert f"{0.6 * 0.5**0.5 - 0.4:+.3f} [+0.0" in text and ">5, bootstrap<" in text
  assert "prompts that all runs were given" in text and text.count("token minus") == 2 * 4 * 2 + 1
  for run in runs:
    assert load(run).content[:12] in text


def test_item_9_what_differs_comes_first(runs):
  text = text_of(*runs)
  first = text.partition("<h2>")[2].partition("<h2>")[0]
  assert first.startswith("What differs") and first.count("<tr>") == 2
  assert "method.<wbr>name" in first and "rl_jax.methods.grpo" in first and "rl_jax.methods.prime" in first
  assert "do not compare methods alone" not in text, "methods are what is compared"


def test_item_9_runs_that_differ_in_nothing_say_so(tmp_path):
  text = text_of(fabricated.run(tmp_path / "a"), fabricated.run(tmp_path / "b"))
  assert "All fields of the configs are equal." in text


@pytest.mark.parametrize(
  ("config", "launch", "said"),
  [
    ({"model": CONFIG["model"] | {"width": 16}}, {}, "Model differs between"),
    ({"task": {"name": "rl_jax.tasks.addition"}, "init_from": "elsewhere"}, {}, "Task and start differ between"),
    ({"evaluation": {"prompts": 64}}, {}, "Evaluation differs between"),
    ({}, {"start_sha256": "0123"}, "Start differs between"),
  ],
)
def test_item_9_a_warning_where_more_than_the_method_differs(tmp_path, config, launch, said):
  text = text_of(fabricated.run(tmp_path / "a"), fabricated.run(tmp_path / "b", config=config, launches=(launch,)))
  assert f'<p class="warning">{said} these runs: their curves do not compare methods alone.' in text


def test_item_10_the_page_says_where_runs_are_cut(runs, tmp_path):
  assert "Equal tokens are cut to the shortest run: grpo ends at 8.0k, prime continues to 16.0k." in text_of(*runs)
  equal = [fabricated.run(tmp_path / name) for name in ("a", "b")]
  assert "cut to the shortest" not in text_of(*equal)


def test_item_10_few_seeds_have_an_interval_that_says_what_it_is(tmp_path):
  text = text_of(fabricated.run(tmp_path / "a", seeds=3), fabricated.run(tmp_path / "b", seeds=3, gain=0.6))
  assert "3, Student&#x27;s t" in text
  # Seeds are 0.02 to both sides of 0.8 and of 0.9, and t with two degrees of freedom is 4.303.
  assert f"0.900 [{0.9 - 4.303 * 0.02 / 3**0.5:.3f}, " in text
  half = 4.303 * (2 * 0.02**2 / 3) ** 0.5
  assert f"+0.100 [{0.1 - half:+.3f}, {0.1 + half:+.3f}]" in text
  two = text_of(fabricated.run(tmp_path / "e", seeds=2), fabricated.run(tmp_path / "f", seeds=3, gain=0.6))
  assert "2, no interval" in two and ">0.800<" in two and ">+0.100<" in two, "t would be 12.7 standard errors"
  low, high = wilson(0.8, 128)
  assert f"{low:.3f} to {high:.3f}, 128 problems" in text
  alone = text_of(*(fabricated.run(tmp_path / name, seeds=1) for name in ("c", "d")))
  assert "1, no interval" in alone


def _move(run, iteration):
  """Put the samples of a run into another iteration."""
  lines = [json.loads(line) | {"iteration": iteration} for line in run.samples.read_text().splitlines()]
  run.samples.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_item_11_samples_of_common_prompts_without_a_common_iteration(runs):
  _move(runs[1], 5)
  text = text_of(*runs)
  assert "prompts that all runs were given" in text and text.count("token minus") == 2 * 4 * 2 + 1
  assert text.count("iteration 8, reward 1") == 4 == text.count("iteration 5, reward 1")


def test_samples_without_a_common_prompt_stand_alone(tmp_path):
  one = fabricated.run(tmp_path / "x" / "grpo", seeds=2)
  other = fabricated.run(tmp_path / "y" / "grpo", seeds=2, credit=False)
  other.samples.write_text(other.samples.read_text().replace("1+2=", "2+2=").replace("7*3-2=", "8="))
  _move(other, 5)
  text = write_comparison([one, other], tmp_path / "out" / "both")[1].read_text()
  assert "x/grpo · y/grpo" in text and "No prompt is common to all runs" in text
  assert '<div class="text">a3#3&lt;end&gt;</div>' in text and "iteration 5, reward 1" in text


def test_runs_without_samples(runs):
  for run in runs:
    run.samples.unlink()
  assert "No samples." in text_of(*runs)


def test_the_command(runs, tmp_path, capsys):
  folders = [str(run.path) for run in runs]
  assert report.main([*folders, f"--output={tmp_path}/both"]) == 0
  assert capsys.readouterr().out == f"{tmp_path}/both.html\n{tmp_path}/both.png\n"
  assert report.main([folders[0], "--output=x"]) == 1
  assert "--output is for a comparison" in capsys.readouterr().err


def test_a_run_of_its_own_shows_its_credit(runs):
  assert report.main([str(runs[0].path)]) == 0
  text = runs[0].report_html.read_text()
  assert "4 of 4 samples have any" in text and "Credit against the truth" in text
  assert load(runs[0]).content[:12] in text
