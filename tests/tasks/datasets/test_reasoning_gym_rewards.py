"""Guesses in every data set of reasoning-gym earn no more than the table says, and the table says little."""

from __future__ import annotations

import importlib.metadata
import json

import pytest

from tests.tasks.datasets import reasoning_gym_rewards

pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")
TABLE = json.loads(reasoning_gym_rewards.TABLE.read_text())
ROWS = TABLE["rows"]
SLOW = ("arc_agi", "futoshiki", "knight_swap", "rubiks_cube", "sokoban", "zebra_puzzles")
"""Data sets whose problems take seconds to make."""
NO_REFERENCE = {"boxnet", "rush_hour"}


def test_the_table_has_all_data_sets_of_the_installed_package():
  assert sorted(ROWS) == reasoning_gym_rewards.names()
  assert TABLE["version"] == importlib.metadata.version("reasoning-gym"), "make the table again and read the difference"


def test_right_answers_earn_one_and_silence_nothing():
  assert {name for name, row in ROWS.items() if row["right"] is None} == NO_REFERENCE
  assert {row["right"] for name, row in ROWS.items() if name not in NO_REFERENCE} == {1.0}
  assert {row["empty"] for row in ROWS.values()} == {0.0}


def test_no_constant_is_a_winner():
  # The highest are those of yes and no: 11 of 16 problems happen to have the same answer.
  assert max(row["constant_reward"] for row in ROWS.values()) < 0.7
  assert max(row["neighbour"] or 0.0 for row in ROWS.values()) < 0.7


def test_a_second_guess_does_not_pay():
  # Moves are played one after another: those of a second puzzle may leave the first one solved. And a time earns the
  # more the nearer it is.
  assert {name for name, row in ROWS.items() if (row["both"] or 0.0) > 1.0} == {"sokoban", "time_intervals"}
  assert ROWS["time_intervals"]["both"] < 1.2


def test_an_integral_and_a_number_is_the_only_hedge_that_is_right():
  # A constant of integration: "17 -x + C".
  whole = {name for name, row in ROWS.items() if row["hedge"] == 1.0}
  assert whole == {"simple_integration", "intermediate_integration"}


@pytest.mark.parametrize(
  "name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in sorted(ROWS)]
)
def test_no_guess_earns_more_than_the_table_says(name):
  kept, made = ROWS[name], reasoning_gym_rewards.row(name)
  assert made["right"] == kept["right"]
  for column in ("empty", "constant_reward", "neighbour", "hedge", "both"):
    assert (made[column] or 0.0) <= (kept[column] or 0.0) + 1e-4, f"{column}: read the row, then make the table again"
