"""Brackets and separators of tokens."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers import groups
from rl_jax.tasks.answers.tokens import canonical, tokenize


@pytest.mark.parametrize(
  ("text", "at"), [("(a)b", 2), ("(a(b)c)", 6), ("[1,2)", 4), (r"\{1\}", 2), ("a", -1), ("(a", -1), (")", -1), ("", -1)]
)
def test_where_the_first_bracket_closes(text, at):
  assert groups.closes(tokenize(text)) == at


@pytest.mark.parametrize(
  ("text", "parts"),
  [
    ("1, 2", ["1", "2"]), ("(1,2),(3,4)", ["(1,2)", "(3,4)"]), ("1;2 and 3 or 4", ["1", "2", "3", "4"]),
    ("1,,2", ["1", "", "2"]),
    ("", [""]), (r"\begin{array} 1, 2 \end{array}, 3", [r"\array 1,2\array ", "3"]), (r"1 \lor 2", ["1", "2"]),
  ],
)  # fmt: skip
def test_parts_between_separators_outside_of_brackets(text, parts):
  assert [canonical(part) for part in groups.split(tokenize(text), groups.separates)] == parts


@pytest.mark.parametrize(
  ("text", "joined"),
  [
    ("1,234", "1234"), ("1,234,567.5", "1234567.5"), ("x+1,234", "x+1234"), ("1,234x", "1234x"), ("1, 234", None),
    ("1,2", None),
    ("1,2345", None), ("0,123", None), ("1234,567", None), ("12,34,567", None), ("(1,234)", None), ("", None),
    ("1,", None),
    ("1,234, 5", "1234,5"),
  ],
)  # fmt: skip
def test_commas_of_thousands_are_taken_out_of_numbers(text, joined):
  found = groups.joined(tokenize(text))
  assert (None if found is None else canonical(found)) == joined


@pytest.mark.parametrize(
  ("text", "word", "joined"), [("1 or 2 or 3", "or", True), ("1, 2 or 3", "or", False), ("1 and 2", "or", False)]
)
def test_words_between_all_parts(text, word, joined):
  assert groups.joined_by(tokenize(text), word) == joined
