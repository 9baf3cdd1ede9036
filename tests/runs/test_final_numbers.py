"""Final numbers: intervals that say what they are over."""

from __future__ import annotations

import math
import re

import pytest

from rl_jax.runs.final_numbers import main_rows, note, rows, table
from rl_jax.runs.intervals import wilson
from rl_jax.runs.record import Record, collect


def record(evaluation, train=None, prompts: int | None = 128) -> Record:
  lines = [{"kind": "evaluation", "iteration": 4, **evaluation}, {"kind": "train", "iteration": 4, **(train or {})}]
  return Record("x", {"evaluation": {"prompts": prompts}} if prompts else {}, [], collect(lines), [])


def html(made: Record) -> str:
  return table(made, rows(made))


def test_item_4_equal_seeds_claim_no_certainty():
  made = record({"held_out/greedy_accuracy": [1.0, 1.0, 1.0]})
  low, high = wilson(1.0, 128)
  assert high == 1.0 and ">1 to 1<" not in html(made) and "all seeds equal" in html(made)
  assert f"{low:.3f} to 1" in html(made)


def test_item_4_each_interval_names_what_it_is_over():
  made = record({"held_out/sampled_accuracy": [0.5, 0.6, 0.7]}, {"reward": [0.5, 0.6, 0.7]})
  text = html(made)
  assert "95 % over 3 seeds" in text and "95 % over 128 problems" in text
  low, high = wilson(0.6, 128)
  assert text.count(f"{low:.3f} to {high:.3f}") == 1, "a training reward is no number of held-out problems"
  assert "Student's t" in note(made) and "Wilson" in note(made)


def test_an_interval_over_seeds_of_a_share_is_one_of_shares():
  assert "0.737 to 1" in html(record({"held_out/sampled_accuracy": [0.85, 0.9, 0.99]}, prompts=None))
  assert "8.000 to 12.0" not in html(record({}, {"response_length": [9.0, 10.0, 11.0]}))


@pytest.mark.parametrize("name, values, low", [
  ("response_length", [0.0, 1.0, 9.0], "0"), ("entropy", [0.0, 1.0, 9.0], "0"), ("gradient_norm", [0.0, 1.0, 9.0], "0"),
  ("reward", [0.0, 1.0, 9.0], "-8.92."), ("mine", [0.0, 1.0, 9.0], "-8.92."),
  ("kl_to_reference", [-1.0, 1.0, 9.0], "-1"),
])  # fmt: skip
def test_an_interval_over_seeds_holds_nothing_that_the_metric_cannot_be(name, values, low):
  made = record({}, {name: values})
  assert re.search(f">{low} to 1", html(made)) and "a reward may be any number" in note(made)


def test_two_seeds_show_their_values_and_no_interval():
  made = record({"held_out/sampled_accuracy": [0.5, 0.6]}, {"reward": [0.5, 0.6]})
  text = html(made)
  assert "over 2 seeds" not in text and "95 % over 128 problems" in text and ">seed 0<" in text and ">seed 1<" in text
  assert "Two seeds have no interval" in note(made) and "interval of the mean" not in note(made)


def test_one_seed_has_an_interval_over_problems_only():
  made = record({"held_out/pass_at_4": [0.5]})
  assert "over 1 seed" not in html(made) and "Student" not in note(made) and "95 % over 128 problems" in html(made)


def test_without_a_number_of_problems_or_a_number_there_is_no_interval_over_problems():
  assert "problems" not in html(record({"held_out/sampled_accuracy": [0.5, 0.6]}, prompts=None))
  assert "NaN</td>" in html(made := record({"held_out/sampled_accuracy": [math.nan, 0.5]}))
  assert " to " not in html(made)


def test_the_chief_metrics_come_first():
  made = record({"held_out/pass_at_4": [1.0], "a/own": [1.0], "held_out/sampled_accuracy": [0.5]}, {"entropy": [1.0]})
  assert [row.name for row in rows(made)][:3] == ["held_out/sampled_accuracy", "held_out/pass_at_4", "entropy"]
  assert len(main_rows(made)) == 3


def test_item_8_names_break_behind_their_separators_only():
  text = html(record({"held_out/sampled_accuracy": [0.5]}))
  assert '<td class="name">held_out/<wbr>sampled_<wbr>accuracy</td>'.replace("held_", "held_<wbr>") in text
