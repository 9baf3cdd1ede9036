"""The calculator: values by hand, what it refuses, and that no text makes it slow or raise."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rl_jax.tasks.tools.calculator import calculate


@pytest.mark.parametrize(
  ("expression", "value"),
  [
    ("1+2*3", "7"),
    (" ( 1 + 2 ) * 3 ", "9"),
    ("1,234.50 * 2", "2469"),
    ("7 / 2", "3.5"),
    ("1/3", "0.3333333333"),
    ("0.1 + 0.2", "0.3"),
    ("7 // 2 + -7 // 2", "-1"),
    ("-7 % 3", "2"),
    ("-2**2", "-4"),
    ("2**-1", "0.5"),
    ("2^3^2", "512"),
    ("3--2", "5"),
    ("(-1)**1000000000001", "-1"),
    ("1e9", "1000000000"),
    ("2.5e-1 * 4", "1"),
    ("1_000 + .5", "1000.5"),
    ("1,234,567", "1234567"),
    ("3. + 1", "4"),
    ("\u0661+1", "2"),
    ("5**64", "542101086242752217003726400434970855712890625"),
  ],
)
def test_values_by_hand(expression, value):
  assert calculate(expression) == value


@pytest.mark.parametrize(
  ("expression", "reason"),
  [
    ("1/0", "division by 0"),
    ("0**-1", "division by 0"),
    ("2**0.5", "a power is a whole number"),
    ("9**9**9", "more than 64 digits"),
    ("", "the expression ends too early"),
    ("(1", "a parenthesis is not closed"),
    ("1)", r"unexpected ')'"),
    ("1 2", "unexpected '2'"),
    ("__import__('os')", "unexpected '_'"),
    ("1e", "unexpected 'e'"),
    ("1,2", "'1,2' is no number"),
    ("3,5*2", "'3,5' is no number"),
    ("0,100", "'0,100' is no number"),
    ("12,34,567", "'12,34,567' is no number"),
    ("1,2345", "'1,2345' is no number"),
    ("1.2.3", "'1.2.3' is no number"),
    ("1__0", "'1__0' is no number"),
    ("1e999999999", "'1e999999999' is no number"),
    ("1e64", "more than 64 digits"),
    ("(" * 100 + "1" + ")" * 100, "nested more than 64 deep"),
    ("1+" * 400, "more than 512 characters"),
  ],
)
def test_what_has_no_value_says_why(expression, reason):
  assert calculate(expression) == f"error: {reason}"


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="0123456789.,+-*/%^() e_", max_size=40))
def test_no_text_makes_it_raise_or_slow(text):
  started = time.perf_counter()
  result = calculate(text)
  assert result.startswith("error: ") or float(result) == float(result)
  assert time.perf_counter() - started < 0.5


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("+-*"), st.integers(0, 99)), min_size=1, max_size=8))
def test_whole_numbers_agree_with_python(terms):
  expression = "7" + "".join(f"{operator}{number}" for operator, number in terms)
  assert calculate(expression) == str(eval(expression))
