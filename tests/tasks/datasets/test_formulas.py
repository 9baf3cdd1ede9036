"""Formulas are read by Python's grammar and computed node by node; nothing else of the grammar has a value."""

from __future__ import annotations

import sys
import time
from fractions import Fraction

import pytest

from rl_jax.tasks.datasets import formulas

READER = formulas.Reader(Fraction, {"x": Fraction(3)}, {"half": lambda value: value / 2})


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("7", 7),
    ("1 - 2 - 3", -4),
    ("8 / 4 / 2", 1),
    ("2 + 3*4", 14),
    ("-x**2", -9),
    ("2**-1", Fraction(1, 2)),
    ("+(x + 1)*2", 8),
    ("half(x + 1) - 1", 1),
    (" 1.5\n", Fraction(3, 2)),
  ],
)
def test_values(text, value):
  assert READER.value(formulas.parse(text)) == value


@pytest.mark.parametrize(
  "text",
  [
    *("", " ", "x +", "(x", "x)", "2x", "x^2", "x, x", "x\nx", "x = 1", "[x]", "{x}", "'x'", "x.real", "x[0]", "x!"),
    *("x_1", "__import__", "x; x", "lambda: x", "x if x else x", "x == x", "x\\", "\u00b2", "\u0661"),
    *("x\u00a0*x", "\0"),
  ],
)
def test_text_that_is_no_formula(text):
  with pytest.raises(formulas.NoFormula):
    READER.value(formulas.parse(text))


@pytest.mark.parametrize(
  "text",
  [
    *("y", "half", "open(x)", "half(x)(x)", "half()", "half(half)", "x(x)", "half(*x)", "half(**x)", "x // x", "not x"),
    *("True", "None", "1j", "1 if x else x", "x and x", "x in x", "lambda x", "await x", "0x10 and x"),
  ],
)
def test_names_functions_and_operators_that_are_not_allowed(text):
  with pytest.raises(formulas.NoFormula):
    READER.value(formulas.parse(text))


@pytest.mark.parametrize("text", ["1" * 5000, "1+" * 10000, "1+" * 2**15 + "1", "(" * 300 + "1" + ")" * 300])
def test_what_the_grammar_cannot_hold_is_no_formula(text):
  with pytest.raises(formulas.NoFormula):
    READER.value(formulas.parse(text))


def test_a_long_sum_is_read_without_recursion():
  terms = 2 * sys.getrecursionlimit()
  begin = time.process_time()
  assert READER.value(formulas.parse("+".join("1" * terms))) == terms
  assert time.process_time() - begin < 1.0
