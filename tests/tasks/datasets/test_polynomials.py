"""Polynomials of answers: terms in any order and form, exact, and never expanded here."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import pytest

from rl_jax.tasks.datasets import formulas
from rl_jax.tasks.datasets.polynomials import expanded_polynomial

READS = """
import contextlib, sys
from rl_jax.tasks.datasets.polynomials import expanded_polynomial
with contextlib.suppress(ValueError):
  expanded_polynomial(sys.stdin.read(), ("x", "y"))
"""


def terms(text):
  return expanded_polynomial(text, ("x", "y"))


def test_terms_by_hand():
  assert terms("3*x**2*y - x/2 + 7") == {
    (("x", 2), ("y", 1)): Fraction(3),
    (("x", 1),): Fraction(-1, 2),
    (): Fraction(7),
  }
  assert terms("0") == terms("x - x") == {}
  assert terms("5") == {(): Fraction(5)}


@pytest.mark.parametrize(
  ("text", "same"),
  [
    ("x + y", "y + x"),
    ("x*y*x", "x**2*y"),
    ("2*(x + y) - y", "2*x + y"),
    ("(x + y)/4*4", "x + y"),
    ("-(x - y)", "y - x"),
    ("(2*x)**3", "8*x**3"),
    ("x**1", "x"),
    ("x**0", "1"),
    ("x**(1 + 1)", "x*x"),
    ("(x - x)**0 + 0*x", "1"),
    ("(x - x)**2", "0"),
    ("x + x + x", "3*x"),
  ],
)
def test_equal_forms(text, same):
  assert terms(text) == terms(same)


@pytest.mark.parametrize(
  ("text", "other"), [("x", "y"), ("x**2", "x"), ("x + 1", "x - 1"), ("2*x*y", "x*y"), ("x/3", "333333*x/1000000")]
)
def test_different_ones(text, other):
  assert terms(text) != terms(other)


@pytest.mark.parametrize(
  "text",
  [
    *("(x + 1)*(x - 1)", "(x + 1)*x", "(x + 1)**2", "x**y", "x**-1", "1/x", "x**(1/2)", "2.0*x", "1e2*x", "x/(y - y)"),
    *("x**1001", "9**9**9", "(10**1000)**1000", "10**2466*10**2466", "(x**1000)**1001", "sin(x)", "z", "x or 17"),
  ],
)
def test_products_of_sums_and_what_is_no_polynomial_are_refused(text):
  with pytest.raises((ValueError, ZeroDivisionError)):
    terms(text)


@pytest.mark.parametrize(
  "text", ["+".join(f"x**{power}" for power in range(1000)), "(x+y)" + "*9" * 8000, "x" + "*x" * 8000, "9**2500*x"]
)
def test_the_longest_answer_ends_soon(text):
  """In a process of its own, whose end is waited for; a form that is expanded would take hours, a busy machine not."""
  assert len(text) <= formulas.LONGEST
  subprocess.run([sys.executable, "-c", READS], input=text, text=True, check=True, timeout=120)
