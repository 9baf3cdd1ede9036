"""Scores of reasoning-gym as far as they can be trusted: from 0 to 1, nothing for silence, own errors told apart."""

from __future__ import annotations

import pytest

from rl_jax.tasks.datasets import procedural, safe_scoring

pytest.importorskip("reasoning_gym.factory", reason="reasoning-gym is not installed: make tasks")
ENTRY = {"answer": "right", "metadata": {}}


class Dataset:
  """A data set whose scorer calls a function that a test gives; `answers` are those that it has seen."""

  def __init__(self, function):
    self.function, self.answers = function, []

  def score_answer(self, answer, entry):
    self.answers.append(answer)
    return self.function(answer)


def scored(function, answer, entry=ENTRY):
  """The reward that a data set's own function leads to."""
  return safe_scoring.scorer("no name", Dataset(function))(answer, entry)


@pytest.mark.parametrize(
  ("reward", "kept"),
  [
    *((0, 0.0), (0.25, 0.25), (1, 1.0), (True, 1.0), (1 + 1e-9, 1.0)),
    *((2.0, 0.0), (-1.0, 0.0), (float("nan"), 0.0), (float("inf"), 0.0)),
  ],
)
def test_rewards_are_from_zero_to_one(reward, kept):
  assert scored(lambda answer: reward, "x") == kept


@pytest.mark.parametrize("answer", [None, "", " ", "\n\t", "\0", "\u200b\u2060", "\u00a0", "x" * (2**16 + 1)])
def test_silence_and_what_is_too_long_earn_nothing(answer):
  dataset = Dataset(lambda answer: 1.0)
  assert safe_scoring.scorer("no name", dataset)(answer, ENTRY) == 0.0
  assert dataset.answers == []


@pytest.mark.parametrize("error", [ValueError, RecursionError, MemoryError, KeyError, OverflowError])
def test_an_answer_that_makes_the_scorer_fail_is_wrong(error):
  def function(answer):
    if answer != "right":
      raise error
    return 1.0

  assert scored(function, "x") == 0.0


def test_an_error_that_the_right_answer_brings_about_too_is_raised():
  def function(answer):
    raise KeyError("a table is missing")

  with pytest.raises(KeyError, match="a table is missing"):
    scored(function, "x")


def test_where_no_right_answer_is_known_an_error_is_the_answers():
  def function(answer):
    raise KeyError

  assert scored(function, "x", {"answer": None, "metadata": {}}) == 0.0


@pytest.mark.parametrize(
  ("answer", "right", "kept"),
  [
    *(("nan", "7", 0.0), ("[1, NaN]", "[1, 2]", 0.0), ("-inf", "7", 0.0), ("1+infj", "7", 0.0)),
    *(("Infinity", "0.5", 0.0), ("banana", "7", 1.0), ("nan", "a word", 1.0), ("inf 7", "inf 7", 1.0)),
    ("infer 7", "7", 1.0),
  ],
)
def test_what_is_no_number_is_not_near_one(answer, right, kept):
  assert scored(lambda answer: 1.0, answer, {"answer": right, "metadata": {}}) == kept


def test_what_a_scorer_prints_is_not_shown(capsys):
  assert scored(lambda answer: print("cannot parse") or 1.0, "x") == 1.0
  assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
  ("entry", "reference"),
  [
    ({"answer": "7", "metadata": {}}, "7"),
    ({"answer": None, "metadata": {"example_answer": "P"}}, "P"),
    ({"answer": None, "metadata": {"example_correct_answer": "U R"}}, "U R"),
    ({"answer": None, "metadata": {"possible_answer": {"0": 1}}}, '{"0": 1}'),
    ({"answer": "", "metadata": {}}, None),
    ({"answer": None, "metadata": {}}, None),
  ],
)
def test_references(entry, reference):
  assert safe_scoring.reference(entry) == reference


@pytest.mark.parametrize(
  ("name", "own"),
  [
    ("n_queens", lambda answer: str([row.split() for row in answer.split("\n")])),
    ("binary_matrix", lambda answer: str([list(map(int, row.split())) for row in answer.split("\n")])),
    ("spiral_matrix", lambda answer: str(list(map(int, answer.split())))),
    ("string_insertion", lambda answer: str(list(answer))),
  ],
)
def test_a_list_of_python_is_as_right_as_the_text(name, own):
  """Answers in the form that the package's own scorer evaluates."""
  dataset = procedural.create(name, {}, seed=3, size=1)
  entry = dataset[0]
  right = safe_scoring.reference(entry)
  score = safe_scoring.scorer(name, dataset)
  assert score(right, entry) == 1.0
  assert score(own(right), entry) == dataset.score_answer(own(right), entry) > 0.0
  assert score(own(right).replace("[", "[open, ", 1), entry) < 0.1
