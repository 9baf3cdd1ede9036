"""What ran, at the head of a page."""

from __future__ import annotations

import pytest

from rl_jax.runs import page
from rl_jax.runs.header import WIDE, facts
from rl_jax.runs.record import Record, load
from rl_jax.runs.report import write_report
from tests.runs import fabricated


def record(config, *launches) -> Record:
  return Record("x", config, list(launches), {}, [])


def test_item_2_the_head_of_the_page_says_what_ran(tmp_path):
  run = fabricated.run(tmp_path / "x", launches=({"parameters": {"policy": 74112}},))
  write_report(run)
  head = run.report_html.read_text().partition("<h2>")[0]
  expected = {
    "method": "grpo", "task": "chain", "levels": "four (operations 4, modulus 10)",
    "model": "rl_jax.models.model, width 64, layers 2", "parameters": "74,112", "learning rate": "0.0003, constant",
    "start": "random parameters", "duration": "5m00s", "device": "cpu x1 (A CPU)", "started": "2026-03-01 10:00:00 UTC",
    "commit": "c0ffeec0ff", "content hash": load(run).content[:12],
    "command": "python -m rl_jax.train --config=experiments/grpo.py --workdir=runs/a",
  }  # fmt: skip
  assert facts(load(run)) == expected
  for label, value in expected.items():
    assert f"<dt>{label}</dt><dd>{page.escape(value)}</dd>" in head, label


def test_what_a_run_does_not_say_is_left_out():
  assert facts(record({})) == {}
  assert "parameters" not in facts(record({"learning_rate": 1e-3}, {"devices": "TPU v5e x8", "cpu_model": "A CPU"}))
  assert facts(record({}, {"devices": "TPU v5e x8", "cpu_model": "A CPU"}))["device"] == "TPU v5e x8"


@pytest.mark.parametrize(
  ("config", "launches", "label", "expected"),
  [
    ({"learning_rates": [1e-4, 3e-4], "learning_rate": 1e-3}, (), "learning rate", "0.0001, 0.0003"),
    ({"task": {"name": "my/task.py", "levels": {"easy": 1}}}, (), "task", "my/task.py"),
    ({}, ({"parameters": {"policy": 1000, "critic": 900}},), "parameters", "policy 1,000, critic 900"),
    ({}, ({"git_commit": "c0ffee" * 6, "git_clean": False},), "commit", "c0ffeec0ff with uncommitted changes"),
    ({}, ({"started_from": "/data/runs/stages/warm_start-0123abcd"},), "start", "warm_start-0123abcd"),
    ({}, ({"end": {"wall_seconds": 50.0}}, {}), "duration", "50s in 1 of 2 launches"),
  ],
)
def test_facts(config, launches, label, expected):
  assert facts(record(config, *launches))[label] == expected


def test_a_command_takes_the_whole_width():
  assert '<div class="wide"><dt>command</dt><dd>a &lt;b&gt;</dd></div>' in page.facts({"command": "a <b>"}, WIDE)
