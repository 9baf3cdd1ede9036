"""Formulas compared by their values at points."""

from __future__ import annotations

from fractions import Fraction

import pytest

from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import tokenize
from rl_jax.tasks.answers.trees import Unreadable, rational
from rl_jax.tasks.verifiers import points

SAME = [
  ("(x+1)^2", "x^2+2x+1"), (r"\sin^2 x + \cos^2 x", "1"), (r"\sin 2x", r"2 \sin x \cos x"),
  (r"\tan x", r"\frac{\sin x}{\cos x}"),
  (r"\frac{1}{\sqrt{3}}", r"\frac{\sqrt{3}}{3}"), (r"\sqrt{3+2\sqrt{2}}", r"1+\sqrt{2}"), ("e^{i\\pi}", "-1"),
  ("i^2", "-1"),
  (r"\ln 6", r"\ln 2 + \ln 3"), (r"\log_2 8", "3"), (r"\log 100", "2"), (r"\log e", "1"), ("|x-1|", "|1-x|"),
  ("x^{1/3}", r"\sqrt[3]{x}"),
  ("(-8)^{1/3}", "-2"), (r"\frac{1+i}{1-i}", "i"), ("2^{n+1}", r"2 \cdot 2^n"),
  (r"\lfloor x+1 \rfloor", r"\lfloor x \rfloor + 1"),
  (r"\lfloor \frac{n}{2} \rfloor + \lceil \frac{n}{2} \rceil", "n"), ("n!", "n(n-1)!"),
  (r"\binom{n}{k}", r"\frac{n!}{k!(n-k)!}"),
  ("6!!", "48"), (r"\sin 30^\circ", r"\frac{1}{2}"), (r"\cosh^2 x - \sinh^2 x", "1"), (r"\arctan 1", r"\frac{\pi}{4}"),
  (r"\sec x", r"\frac{1}{\cos x}"),
  (r"\sqrt{2} - \sqrt{2}", "0"), ("x_1+x_2", "x_2+x_1"), (r"\frac{dy}{dx} + 1", r"1 + \frac{dy}{dx}"),
]  # fmt: skip
OTHER = [
  ("x+1", "x-1"), (r"\sqrt{x^2}", "x"), ("|x|", "x"), (r"\ln x^2", r"2 \ln x"), (r"\sin x", "x"), ("x", "y"),
  (r"\pi", r"\frac{22}{7}"),
  (r"\pi", r"\frac{314159265358979323846}{100000000000000000000}"), ("n!+1", "n!"),
  (r"\binom{2n}{n}+1", r"\binom{2n}{n}"),
  (r"\lfloor\sqrt{n+1}\rfloor", r"\lfloor\sqrt{n-1}\rfloor"), (r"\lfloor x \rfloor", r"\lceil x \rceil"),
  (r"\ln 0", "5"), (r"\ln 0", r"\ln 0 + 1"),
  (r"\tan\frac{\pi}{2}", r"\tan\frac{\pi}{2}+1"), (r"\cot \pi", r"\sec\frac{\pi}{2}"), (r"\frac{1}{x-x}", "x"),
  ("e^{x}", "e^{-x}"), ("i", "-i"),
  ("e^{10^{9}}", "e^{10^{9}+1}"), (r"\sin 10^{100}", r"\sin(10^{100}+1)"), (r"\frac{1}{3} \pi", r"0.333333333333 \pi"),
]  # fmt: skip


def parsed(text):
  return tree_of(tokenize(text))


@pytest.mark.parametrize(("first", "second"), SAME)
def test_formulas_that_are_equal(first, second):
  assert points.same(parsed(first), parsed(second)) and points.same(parsed(second), parsed(first))


@pytest.mark.parametrize(("first", "second"), OTHER)
def test_formulas_that_differ_or_have_no_values(first, second):
  assert not points.same(parsed(first), parsed(second)) and not points.same(parsed(second), parsed(first))


@pytest.mark.parametrize(
  ("text", "value", "near"), [(r"\pi", "3.14159", True), (r"\pi", "3.1416", False), ("x", "1", False)]
)
def test_a_formula_near_a_number(text, value, near):
  assert points.near(parsed(text), Fraction(value), Fraction(1, 10**6)) == near


@pytest.mark.parametrize(
  ("first", "second", "proportional"),
  [
    ("2x+y", "4x+2y", True),
    ("x-y", "y-x", True),
    ("x+1", "x+2", False),
    ("x", "0", False),
    ("x", "x^2", False),
    (r"\frac{1}{0x}", "x", False),
  ],
)
def test_formulas_that_are_multiples(first, second, proportional):
  assert points.proportional(parsed(first), parsed(second)) == proportional


@pytest.mark.parametrize(
  ("text", "values"), [("x+1", True), (r"\int x dx", False), (r"1+\sum_{k=1}^{n} k", False), (r"\frac{dy}{dx}", True)]
)
def test_formulas_with_values(text, values):
  assert points.has_values(parsed(text)) == values


def test_values_do_not_hang_on_the_order_of_calls():
  tree = parsed("x^2+y")
  before = points._samples.__wrapped__(tree, False, 10)
  points.same(parsed("y+z"), parsed("z"))
  assert points._samples.__wrapped__(tree, False, 10) == before and len(before) == points.POINTS


@pytest.mark.parametrize(
  "text", ["x^{10^{9}}", r"\sin(x^{9999})", "e^{e^{e^{e^{x}}}}", "(n!)!", r"\binom{n!}{(n-1)!}", "n!^{n!}"]
)
def test_what_is_too_large_has_no_value(text):
  try:
    assert rational(parsed(text)) is None
  except Unreadable:
    return
  assert not points.same(parsed(text), parsed("0"))
