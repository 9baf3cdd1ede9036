"""Answers as typed values."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_jax.tasks.answers import reading
from rl_jax.tasks.answers.reading import MOST_ITEMS, is_value, read
from rl_jax.tasks.answers.values import (
  Approximation,
  Bracket,
  Choice,
  Collection,
  Expression,
  Matrix,
  NamedValue,
  Number,
  NumeralInBase,
  Quantity,
  Relation,
  Text,
  UnionOfParts,
)

ONE, TWO = Number(Fraction(1)), Number(Fraction(2))


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("1", ONE), ("$1$.", ONE), ("1.0", Number(Fraction(1), decimal=True)), (r"\frac{4}{2}", TWO), ("{1}", ONE),
    ("(1)", ONE),
    ("1 1/2", Number(Fraction(3, 2))), ("-1 1/2", Number(Fraction(-3, 2))), (r"3 \cdot 10^{2}", Number(Fraction(300))),
    ("1, 2", Collection((ONE, TWO))), ("1 and 2", Collection((ONE, TWO))),
    (r"\{1, 2\}", Collection((ONE, TWO), is_set=True)),
    (r"\emptyset", Collection((), is_set=True)), (r"\{\}", Collection((), is_set=True)),
    ("(1,2)", Bracket("(", (ONE, TWO), ")")),
    ("[1,2)", Bracket("[", (ONE, TWO), ")")), (r"\langle 1, 2 \rangle", Bracket("(", (ONE, TWO), ")")),
    (r"(1,2) \cup [1,2]", UnionOfParts((Bracket("(", (ONE, TWO), ")"), Bracket("[", (ONE, TWO), "]")))),
    (r"\begin{pmatrix} 1 & 2 \\ 2 & 1 \end{pmatrix}", Matrix(((ONE, TWO), (TWO, ONE)))),
    (r"\begin{vmatrix} 1 \end{vmatrix}", Matrix(((ONE,),), is_determinant=True)),
    (r"2 \begin{bmatrix} 1 \\ 1 \end{bmatrix}", Matrix(((TWO,), (TWO,)))),
    (r"1 \\ 2", Bracket("rows", (ONE, TWO), "rows")),
    (r"\begin{cases} x = 1 \\ y = 2 \end{cases}", Collection((NamedValue("x", ONE), NamedValue("y", TWO)))),
    ("x = 1", NamedValue("x", ONE)), ("f(x) = 1", NamedValue("f", ONE)), (r"x \approx 1", NamedValue("x", ONE)),
    ("= 1", ONE),
    (r"x \in [1,2]", NamedValue("x", Bracket("[", (ONE, TWO), "]"))),
    (r"1 \le x < 2", NamedValue("x", Bracket("[", (ONE, TWO), ")"))),
    ("1 km", Quantity(ONE, "km")), (r"1\text{ kilometers}", Quantity(ONE, "km")), ("1%", Quantity(ONE, "%")),
    (r"1^\circ", Quantity(ONE, "degree")), ("$1", Quantity(ONE, "$")), ("1 dollar", Quantity(ONE, "$")),
    ("101_2", NumeralInBase("101", "2")), ("101_{2}", NumeralInBase("101", "2")),
    ("A", Choice("A")), (r"\text{(A)}", Choice("A")),
    ("A.", Choice("A")),
    ("Yes", Text("yes")), (r"\text{Yes}", Text("yes")), ("no solution", Text("nosolution")), ("1_000", Text("1_000")),
    ("Tuesday, Monday", Collection((Text("tuesday"), Text("monday")))), ("2:30", Text("2:30")), ("1 2", Text("1 2")),
  ],
)  # fmt: skip
def test_the_value_of_an_answer(text, value):
  assert read(text)[0] == value


@pytest.mark.parametrize(
  ("text", "kind"),
  [
    ("x+1", Expression), ("pi", Expression), ("sin x", Expression), (r"17 \cdot 23", Expression), ("x+y=1", Relation),
    ("x < y", Relation), (r"x \ne 1", Relation), (r"\sqrt{2} \approx 1.41", Approximation),
    (r"\boxed{1} \boxed{2}", Text),
    ("1=2", Relation), ("1=2=3", Text), (r"1 \to 2", Text), ("5 hours 30 minutes", Text), ("not 5", Text),
    ("1..2", Text),
    (r"2, 4, \ldots, 2n", Text), ("x" * 9000, Text), (r"\begin{pmatrix} 1 \end{pmatrix} + 1", Text),
  ],
)  # fmt: skip
def test_the_kind_of_an_answer(text, kind):
  assert isinstance(read(text)[0], kind)


def test_commas_may_be_of_thousands_or_of_a_list():
  assert read("100,200") == (Number(Fraction(100200)), Collection((Number(Fraction(100)), Number(Fraction(200)))))
  assert len(read("100, 200")) == len(read("1{,}000")) == 1


def test_plus_or_minus_makes_two_values():
  three = Number(Fraction(3)), Number(Fraction(-3))
  assert read(r"\pm 3")[0] == Collection(three) and read(r"x = \pm 3")[0] == NamedValue("x", Collection(three))


def test_a_list_has_few_items():
  assert isinstance(read(",".join("12" * MOST_ITEMS))[0], Text)


@pytest.mark.parametrize(
  ("text", "value"),
  [("42", True), ("x = 5", True), ("it is 5", False), ("42 apples", True), ("yes", False), ("(a, b)", True)],
)
def test_what_is_read_as_more_than_words(text, value):
  assert is_value(text) == value


PIECES = (
  r"\frac \sqrt { } ( ) [ ] ^ _ + - * / = < \le \cup , ; and or \text{ x y n e i \pi \infty 1 2 10 3.5 1e5 % $ | !"
  r" ' \\ & \begin{pmatrix} \end{pmatrix} \begin{cases} \end{cases} \sin \log \int \sum d \binom \lfloor \rfloor ."
  r" ^\circ \pm \{ \} \mod \frac{d}{dx} \in \mathbb{R} ½ ² √ − é 千 \ km"
)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(PIECES.split()), max_size=20), st.sampled_from(["", " "]))
def test_no_text_raises(pieces, between):
  assert reading.read.__wrapped__(between.join(pieces))
