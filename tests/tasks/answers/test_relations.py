"""Equations, inequalities and memberships."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers.reading import read
from rl_jax.tasks.answers.values import NamedValue, Relation, Text, UnionOfParts
from rl_jax.tasks.verifiers.mathematics import equal


@pytest.mark.parametrize(
  ("text", "name"),
  [
    ("x = 1", "x"), ("x_1 = 1", "x_1"), ("f(x) = 1", "f"), ("f^{-1}(x) = 1", "f^{-1}"), ("y' = 1", "y'"),
    ("AB = 1", "ab"),
    (r"\angle ABC = 1", r"\angle abc"), (r"\theta = 1", r"\theta "), ("(x, y) = (1, 2)", "(x,y)"),
    (r"\text{Area} = 1", "area"),
    ("area = 1", "area"), ("x < 1", "x"), ("1 < x", "x"), ("1 < x < 2", "x"), ("2 > x > 1", "x"),
    (r"x \in [1, 2]", "x"),
  ],
)  # fmt: skip
def test_the_name_of_a_value(text, name):
  value = read(text)[0]
  assert isinstance(value, NamedValue) and value.name == name


@pytest.mark.parametrize(
  ("text", "sign"), [("x+y=1", "="), ("1=2", "="), ("x<y", "<"), ("x>y", "<"), (r"x \ge y", "le"), (r"x \ne 1", "ne")]
)
def test_the_sign_of_a_relation(text, sign):
  value = read(text)[0]
  assert isinstance(value, Relation) and value.sign == sign


@pytest.mark.parametrize(
  "text",
  ["1=2=3", "x =", "x = y = 3", "1 < x > 2", "1 < 2 < 3", r"x \to 1", r"1 \in [1,2]", "x = 1 = 2", r"\not= 5", "= = 1"],
)
def test_what_is_no_relation(text):
  assert isinstance(read(text)[0], Text)


def test_inequalities_joined_by_or_are_a_union():
  value = read(r"x < 1 \text{ or } x > 2")[0]
  assert isinstance(value, NamedValue) and isinstance(value.value, UnionOfParts) and len(value.value.parts) == 2


SAME = [
  (r"\sin\theta = \frac{3}{5}", "0.6"), ("|z| = 5", "5"), (r"\det(A) = 5", "5"), ("E[X] = 3", "3"),
  (r"\Delta H = -50", "-50"),
  (r"m\angle A = 120^\circ", "120"), (r"\text{Total} = 5 \text{ apples}", "5"), (r"v_{\text{max}} = 3", "3"),
  (r"\ln y = x+C", r"\ln y = C+x"),
  ("x = 5", "5"), ("5", "x=5"), ("5", "= 5"), ("y = 2x + 3", "2x+3"), ("y=2x+3", "y = 3+2x"), ("f(x) = x^2", "x^2"),
  ("2x + y = 3", "y+2x=3"), ("4x+2y=6", "2x+y=3"), ("2x+y-3=0", "2x+y=3"), ("x-2y=4", "2y=x-4"),
  ("9x^2+4y^2=36", r"\frac{x^2}{4}+\frac{y^2}{9}=1"),
  ("x < 2", r"(-\infty,2)"), (r"(-\infty,2)", "x<2"), (r"x \geq 1", r"[1,\infty)"), ("1<x\\le2", "(1,2]"),
  ("2 > x > 1", "(1,2)"),
  (r"x<1 \text{ or } x>2", r"(-\infty,1)\cup(2,\infty)"), (r"\mathbb{R}", r"(-\infty,\infty)"),
  (r"x \ne 2", r"x\neq 2"), ("x>y", "y<x"),
  (r"\frac{5}{3} \approx 1.67", r"\frac53"), (r"\frac{5}{3} \approx 1.67", "1.67"),
  (r"\sqrt2", r"\sqrt{2}\approx 1.414"),
]  # fmt: skip
OTHER = [
  (r"\sin\theta = \frac{3}{5}", r"\cos\theta = \frac{3}{5}"), ("|z| = 5", "z = 5"), ("x^2 = 12", "12"), ("2x = 5", "5"),
  ("3+2=5", "5"),
  ("x = 5", "y = 5"), ("x=5", "6"), ("13=12", "12"), ("12=12", "12"), ("1=2=3=12", "12"), ("x+y=3", "x+y=4"),
  ("x+y=3", "x-y=3"), ("1=2", "3=4"),
  ("5=5", "6=6"), ("x=12=13", "12"), (r"\neq 12", "12"), ("> 12", "12"), (r"\leq 5", "5"), ("x>2", r"(-\infty,2)"),
  (r"x\le2", r"(-\infty,2)"),
  ("x<y", "y<x"), ("x<13", "12"), (r"5 \approx 6", "5"), (r"5 \approx 6", "6"), (r"\frac{5}{3} \approx 2", "2"),
  (r"\sqrt2 \approx 1.41, 3", r"\sqrt2"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SAME)
def test_equal_relations(given, wanted):
  assert equal(given, wanted, form="simplified")


@pytest.mark.parametrize(("given", "wanted"), OTHER)
def test_different_relations(given, wanted):
  assert not equal(given, wanted)


@pytest.mark.parametrize(("given", "wanted"), [("y - 3 = 2(x - 1)", "y = 2x+1"), ("2y = 4x+2", "y=2x+1")])
def test_an_equation_is_solved_where_the_gold_answer_is(given, wanted):
  assert not equal(given, wanted, form="simplified") and equal(given, wanted, form="any")
