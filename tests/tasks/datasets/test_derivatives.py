"""Antiderivatives of answers: right ones in any form, with any constant, and nothing else."""

from __future__ import annotations

import time

import pytest

from rl_jax.tasks.datasets import derivatives, formulas


@pytest.mark.parametrize(
  ("text", "integrand"),
  [
    ("x**2", "2*x"),
    ("x**2 + C", "2*x"),
    ("(x + 1)**2 - 17 + K", "2*x + 2"),
    ("x**2/2*x - x*x*x/6", "x**2"),
    ("2*x**(3/2)/3", "sqrt(x)"),
    ("log(x) + c", "1/x"),
    ("ln(5*x)", "1/x"),
    ("x**x", "x**x*(log(x) + 1)"),
    ("2**x/log(2)", "2**x"),
    ("E**(2*x)/2", "exp(2*x)"),
    ("sin(x)**2/2", "sin(x)*cos(x)"),
    ("-cos(x)**2/2", "sin(x)*cos(x)"),
    ("-cos(2*x)/4 + pi", "sin(x)*cos(x)"),
    ("tan(x) - x", "sec(x)**2 - 1"),
    ("-cot(x) - csc(x)", "csc(x)**2 + csc(x)*cot(x)"),
    ("sec(x)", "sec(x)*tan(x)"),
    ("x*asin(x) + sqrt(1 - x**2)", "asin(x)"),
    ("x*acos(x) - sqrt(1 - x**2)", "acos(x)"),
    ("x*atan(x) - log(1 + x**2)/2", "atan(x)"),
    ("sinh(x) + cosh(x)", "cosh(x) + sinh(x)"),
    ("log(cosh(x))", "tanh(x)"),
    ("asinh(x) - atanh(x)", "1/sqrt(1 + x**2) - 1/(1 - x**2)"),
    ("acosh(x)", "1/(sqrt(x - 1)*sqrt(x + 1))"),
    ("3", "0*x"),
  ],
)
def test_right_ones(text, integrand):
  assert derivatives.is_antiderivative(text, integrand, "x")


@pytest.mark.parametrize(
  ("text", "integrand"),
  [
    ("2*x", "2*x"),
    ("x**2 + C*x", "2*x"),
    ("x**2 + 0.001*x", "2*x"),
    ("1.00001*x**2", "2*x"),
    ("C", "2*x"),
    ("sin(x)", "sin(x)"),
    ("cos(x)", "sin(x)"),
    ("log(x)", "1/x**2"),
    ("x**2 + x/0", "2*x"),
    ("x**2 + 9**9**9**9", "2*x"),
    ("x**2*10**400/10**400", "2*x"),
  ],
)
def test_wrong_ones_and_those_without_a_value(text, integrand):
  assert not derivatives.is_antiderivative(text, integrand, "x")


def test_the_variable_may_have_another_name():
  assert derivatives.is_antiderivative("E**2", "2*E", "E")
  with pytest.raises(formulas.NoFormula):
    derivatives.is_antiderivative("y**2", "2*x", "x")


@pytest.mark.parametrize("text", ["", "x**2 or 17", "x**2; x", "diff(x)", "Integral(2*x, x)", "open(x)"])
def test_what_is_no_formula_is_refused(text):
  with pytest.raises(formulas.NoFormula):
    derivatives.is_antiderivative(text, "2*x", "x")


def test_the_same_answer_has_the_same_verdict():
  # The last term is too small to be seen at most points, and the points follow from the text.
  assert len({derivatives.is_antiderivative("x**2 + 7*x**3/10**9", "2*x", "x") for _ in range(20)}) == 1


def test_the_longest_answer_ends_soon():
  begin = time.process_time()
  text = "+".join(["sin(x)**x"] * (formulas.LONGEST // 10))
  assert not derivatives.is_antiderivative(text, "2*x", "x")
  assert time.process_time() - begin < 2.0
