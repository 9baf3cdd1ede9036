"""Answers that act if they are run, on every data set of reasoning-gym: none is run, and none pays."""

from __future__ import annotations

import contextlib

import pytest

from rl_jax.tasks.datasets import procedural, safe_scoring
from tests.tasks.datasets import hostile_answers

factory = pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")
NAMES = sorted(set(factory.DATASETS) - {"composite"})
RUN_UPSTREAM = [
  *("binary_matrix", "countdown", "intermediate_integration", "n_queens", "polynomial_multiplication"),
  *("puzzle24", "simple_integration", "spiral_matrix", "string_insertion"),
]
"""Data sets whose own scorer runs an answer as code."""
LARGEST_SHARE = 0.15
"""What a text that happens to share characters with the right answer may earn where upstream pays for them."""


@pytest.fixture
def mark(tmp_path):
  return tmp_path / "mark"


@pytest.mark.parametrize("name", RUN_UPSTREAM)
def test_the_packages_own_scorer_runs_such_an_answer(name, mark):
  dataset = procedural.create(name, {}, seed=3, size=1)
  with contextlib.suppress(Exception):
    dataset.score_answer(f"__import__('os').system('touch {mark}')", dataset[0])
  assert mark.exists()


def test_there_are_many_of_them():
  assert len(set(hostile_answers.ANSWERS)) >= 60


@pytest.mark.parametrize("name", NAMES)
def test_no_answer_runs_or_pays_or_changes_what_others_earn(name, mark):
  dataset = procedural.create(name, {}, seed=3, size=2)
  score = safe_scoring.scorer(name, dataset)
  for entry in (dataset[0], dataset[1]):
    rewards = {answer: score(answer, entry) for answer in hostile_answers.answers(mark)}
    assert not mark.exists()
    most = max(rewards, key=rewards.get)
    assert rewards[most] <= (0.0 if name in RUN_UPSTREAM else LARGEST_SHARE), most
    right = safe_scoring.reference(entry)
    assert right is None or score(right, entry) == 1.0
    assert score("no such thing", entry) <= LARGEST_SHARE
