"""Several runs on one page."""

from __future__ import annotations

import numpy as np
import pytest

from rl_jax import report
from rl_jax.runs.comparison_report import compared_panels, over_tokens, write_comparison
from rl_jax.runs.record import load
from tests.runs import fabricated


@pytest.fixture
def runs(tmp_path):
  return [
    fabricated.run(tmp_path / "grpo", gain=0.4, tokens=1000),
    fabricated.run(tmp_path / "prime", gain=0.6, tokens=2000),
  ]


def test_accuracy_over_tokens(runs):
  record = load(runs[1])
  found = over_tokens(record, record.series["evaluation"]["held_out/sampled_accuracy"])
  np.testing.assert_array_equal(found.iterations, [0, 4000, 8000, 12000, 16000])
  panels = compared_panels({run.path.name: load(run) for run in runs})
  assert [panel.title for panel in panels] == [
    "Held-out accuracy", "Held-out accuracy by tokens", "Training reward", "Response length", "Entropy of the policy",
    "Credit: rank correlation", "Credit: unexplained",
  ]  # fmt: skip
  assert panels[1].across == "generated tokens per seed" and [c.label for c in panels[1].curves] == ["grpo", "prime"]


def test_the_page_holds_curves_table_and_samples_side_by_side(runs, tmp_path):
  picture, html = write_comparison(runs)
  assert (picture, html) == (tmp_path / "comparison.png", tmp_path / "comparison.html")
  text = html.read_text()
  assert picture.read_bytes().startswith(b"\x89PNG") and text.count("<svg") == 7 and "http" not in text
  # At the 8000 tokens of the shorter run prime is at 0.3 + 0.6 sqrt(1/2); five seeds two hundredths around it.
  assert "accuracy at 8.0k tokens" in text and "minus grpo, at 8.0k tokens" in text
  assert "0.700 [0.6" in text and f"{0.3 + 0.6 * 0.5**0.5:.3f} [0.7" in text
  assert f"{0.6 * 0.5**0.5 - 0.4:+.3f} [+0.0" in text
  assert "prompts that all runs were given" in text and text.count("token minus") == 2 * 4 * 2 + 1
  for run in runs:
    assert load(run).content[:12] in text


def test_few_seeds_have_no_interval_and_samples_without_a_common_prompt_stand_alone(tmp_path):
  one = fabricated.run(tmp_path / "x" / "grpo", seeds=2)
  other = fabricated.run(tmp_path / "y" / "grpo", seeds=2, credit=False)
  other.samples.write_text(other.samples.read_text().replace("1+2=", "2+2=").replace("7*3-2=", "8="))
  text = write_comparison([one, other], tmp_path / "out" / "both")[1].read_text()
  assert "x/grpo · y/grpo" in text and "0.800</td>" in text and "no prompt was shown of all runs" in text
  assert '<div class="text">a3#3&lt;end&gt;</div>' in text


def test_the_command(runs, tmp_path, capsys):
  folders = [str(run.path) for run in runs]
  assert report.main([*folders, f"--output={tmp_path}/both"]) == 0
  assert capsys.readouterr().out == f"{tmp_path}/both.html\n{tmp_path}/both.png\n"
  assert report.main([folders[0], "--output=x"]) == 1
  assert "--output is for a comparison" in capsys.readouterr().err


def test_a_run_of_its_own_shows_its_credit(runs):
  assert report.main([str(runs[0].path)]) == 0
  text = runs[0].report_html.read_text()
  assert "Advantages of iteration 8" in text and "Credit against the truth" in text
  assert f"Content {load(runs[0]).content[:12]}" in text
