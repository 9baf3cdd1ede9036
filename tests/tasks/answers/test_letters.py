"""Runs of letters: functions, Greek letters, products and words."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers.letters import are_formula, split_letters
from rl_jax.tasks.answers.tokens import tokenize
from rl_jax.tasks.answers.trees import Unreadable


@pytest.mark.parametrize(
  ("text", "texts"),
  [
    ("ab", ["a", "b"]), ("sinx", ["sin", "x"]), ("xsiny", ["x", "sin", "y"]), ("arctanx", ["arctan", "x"]),
    ("pi", ["pi"]),
    ("2pi", ["2", "pi"]), ("sqrt2", ["surd", "2"]), ("e^{it}", ["e", "^", "{", "i", "t", "}"]), ("infinity", ["infty"]),
    ("2it+1", ["2", "i", "t", "+", "1"]), ("abcd", ["a", "b", "c", "d"]), ("lnx", ["ln", "x"]), ("alpha", ["alpha"]),
  ],
)  # fmt: skip
def test_runs_as_functions_and_letters(text, texts):
  assert [token.text for token in split_letters(tokenize(text))] == texts


@pytest.mark.parametrize("text", ["hello", "the x", "it is x", "is 5", "So x", "that", "to 5", "not x"])
def test_words_are_no_products(text):
  with pytest.raises(Unreadable, match="is a word"):
    split_letters(tokenize(text))


@pytest.mark.parametrize(
  ("words", "formula"),
  [
    ("x", True), ("x y", True), ("sin x", True), ("sinx", True), ("sin x cos y", True), ("pi", True), ("lnx", True),
    ("none", False), ("neon", False), ("no", False), ("single", False), ("sinus", False), ("cosine", False),
    ("ab", False),
    ("Paris", False), ("even", False),
  ],
)  # fmt: skip
def test_words_that_are_a_formula(words, formula):
  assert are_formula(words) == formula
