r"""Tokens: commands are read whole, so that nothing is cut in two."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_jax.tasks.answers.tokens import MOST_TOKENS, TooLong, canonical, closing_brace, tokenize


@pytest.mark.parametrize(
  ("text", "texts"),
  [
    ("2x+1", ["2", "x", "+", "1"]),
    (r"1 \\ 2", ["1", "\\\\", "2"]),
    (r"1\\2", ["1", "\\\\", "2"]),
    (r"1 \\[4pt] 2", ["1", "\\\\", "2"]),
    (r"a\, b\; c\quad d", ["a", "b", "c", "d"]),
    (r"\left( x \right)", ["(", "x", ")"]),
    (r"\left. x \right|", ["x", "|"]),
    (r"x \leftarrow y", ["x", "leftarrow", "y"]),
    (r"\leq \le \leqslant", ["le", "le", "le"]),
    (r"\cdot\times*", ["*", "*", "*"]),
    (r"\lnx \cdoti \infty1", ["ln", "x", "*", "i", "infty", "1"]),
    (r"1{,}200 1\,200 1,200", ["1200", "1200", "1", ",", "200"]),
    ("1e-5 2e 3.5", ["1e-5", "2", "e", "3.5"]),
    ("1...2", ["1", "dots", "2"]),
    (r"\{1\}", ["lbrace", "1", "rbrace"]),
    (r"\begin{array}{cc} 1 & 2 \end{array}", ["array", "1", "&", "2", "array"]),
    (r"\text{ no way} \mathrm{e} \operatorname{sin}", ["no", "way", "e", "sin"]),
    (r"\mathbf{x} \mathbb{R} \mathbb Z", ["{", "x", "}", "mathbbR", "mathbbZ"]),
    (r"30^\circ 30^{\circ} f^\prime", ["30", "degree", "30", "degree", "f", "'"]),
  ],
)
def test_the_texts_of_tokens(text, texts):
  assert [token.text for token in tokenize(text)] == texts


def test_the_kinds_of_tokens():
  kinds = [token.kind for token in tokenize(r"2ab\text{cd}\mathrm{ef}\pi\begin{cases}\\\end{cases}+\foo")]
  assert kinds == ["number", "letters", "word", "name", "command", "begin", "row", "end", "sign", "unknown"]


def test_blanks_are_remembered_by_the_token_behind_them():
  assert [token.spaced for token in tokenize(r" a b\,c~d e")] == [True, True, True, True, True]
  assert [token.spaced for token in tokenize(r"a+b")] == [False, False, False]


@pytest.mark.parametrize(
  ("first", "second"),
  [("x_{1}", "x_1"), (r"a \cdot b", "a*b"), (r"\text{Yes}", "yes"), (r"\leq", r"\le"), (r"x^{\prime}", "x'")],
)
def test_canonical_text_of_the_same_tokens(first, second):
  assert canonical(tokenize(first)) == canonical(tokenize(second))


@pytest.mark.parametrize(
  ("first", "second"), [("12", "1 2"), ("a", "b"), ("A", "a"), (r"\alpha", "alpha"), ("x^2", "x_2")]
)
def test_canonical_text_of_other_tokens(first, second):
  assert canonical(tokenize(first)) != canonical(tokenize(second))


def test_canonical_text_of_nothing():
  assert canonical([]) == ""


@pytest.mark.parametrize(("text", "at"), [("a}b", 1), (r"\}{}}", 4), ("{}", None), ("", None), ("\\", None)])
def test_where_a_brace_closes(text, at):
  assert closing_brace(text, 0) == at


@pytest.mark.parametrize("text", ["x " * (MOST_TOKENS + 1), r"\text{a " * 9 + "}" * 9])
def test_a_text_that_is_longer_than_an_answer_is_refused(text):
  with pytest.raises(TooLong):
    tokenize(text)


@given(st.text(alphabet="\\{}[]()$^_&%., 1aé½\n", max_size=80) | st.text(max_size=40))
def test_any_text_has_tokens_or_is_too_long(text):
  try:
    canonical(tokenize(text))
  except TooLong:
    pass
