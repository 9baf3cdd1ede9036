"""Numbers by hand: what each text is, exactly, and what is no number but for one sign."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rl_jax.tasks.answers import numbers
from rl_jax.tasks.answers.numbers import Written


@pytest.mark.parametrize(
  ("text", "value"),
  [
    ("42", 42), ("007", 7), ("+5", 5), ("-5", -5), ("- 5", -5), ("0", 0), ("-0", 0), ("3.", 3), (".5", Fraction(1, 2)),
    ("-.5", Fraction(-1, 2)), ("2.50", Fraction(5, 2)), ("1,234", 1234), ("1,234,567.5", Fraction(2469135, 2)),
    ("1{,}234", 1234), (r"1,\!234", 1234), (r"1\,234\,567", 1234567), (r"1\;234", 1234), ("1 234 567", 1234567),
    ("1~234", 1234), ("3/4", Fraction(3, 4)), ("-3/4", Fraction(-3, 4)), ("3 / -4", Fraction(-3, 4)), ("34/2", 17),
    (r"\frac{3}{4}", Fraction(3, 4)), (r"\dfrac34", Fraction(3, 4)), (r"-\tfrac{-3}{4}", Fraction(3, 4)),
    (r"1\frac{1}{2}", Fraction(3, 2)), (r"1 \frac12", Fraction(3, 2)), ("1 1/2", Fraction(3, 2)),
    (r"-2\frac{3}{4}", Fraction(-11, 4)), ("1e5", 10**5), ("1E+5", 10**5), ("2.5e-3", Fraction(1, 400)),
    (r"6.02 \times 10^{23}", 602 * 10**21), ("3*10^8", 3 * 10**8), ("3x10^8", 3 * 10**8),
    (r"1.5 \cdot 10^{-2}", Fraction(3, 200)),
    ("10^6", 10**6), ("10^{-3}", Fraction(1, 1000)), ("10**2", 100), (r"0.\overline{3}", Fraction(1, 3)),
    (r"0.1\overline{6}", Fraction(1, 6)), (r"2.\bar{9}", 3),
  ],
)  # fmt: skip
def test_the_value_of_a_number(text, value):
  read = numbers.read(text)
  assert read is not None and read.value == value and read.unit == ""


@pytest.mark.parametrize(
  ("text", "value", "unit"),
  [
    ("5%", 5, "%"), (r"12.5\%", Fraction(25, 2), "%"), ("$5", 5, "$"), (r"\$1,200.50", Fraction(2401, 2), "$"),
    ("-$5", -5, "$"), ("$-5", -5, "$"), ("€5", 5, "€"), ("5€", 5, "€"), (r"\text{\$}5", 5, "$"),
    ("£.50", Fraction(1, 2), "£"),
  ],
)  # fmt: skip
def test_the_unit_of_a_number(text, value, unit):
  read = numbers.read(text)
  assert read is not None and (read.value, read.unit) == (value, unit)


@pytest.mark.parametrize(
  "text",
  [
    "", " ", ".", "-", "$", "%", "1,2", "0,100", "1,2345", "12,34,567", "1,234,56", "1,23,456", "1 2", "1 23", "12 34",
    "1 200/300", "1.2.3", "1..2", "--5", "-$-5", "$5%", "$5€", "1e", "1e5.5", "1e99999", "3/0", r"\frac{3}{0}", "3/",
    "/3", "3/4/5", r"3\frac{7}{2}", r"3\frac{-1}{2}", r"1.5\frac12", r"\frac{1}{2}3", "1/2 3", "5 km", "5x", "x",
    "2:30", "5-10", "½", "10³", "NaN", "inf", "1_000", "0x10", "1{,}2", "1,234 567", r"2^{10}", r"3.\overline{}",
    r"3\overline{3}", "9" * 401,
  ],
)  # fmt: skip
def test_what_is_no_number(text):
  assert numbers.read(text) is None


def test_what_may_be_rounded_is_marked():
  decimal = {text: numbers.read(text).decimal for text in ("1.5", "1e-3", "3e8", "1/3", "7", r"0.\overline{3}")}
  assert decimal == {"1.5": True, "1e-3": True, "3e8": False, "1/3": False, "7": False, r"0.\overline{3}": False}


@pytest.mark.parametrize(
  ("first", "second", "equal"),
  [
    ("0.1", "0.10000000000000001", True),  # the error of a float
    ("0.1", "0.100000000000001", False),
    ("1/3", "0.333333333333", True),
    ("1/3", "0.33333333", False),
    ("1/3", "0.3333", False),
    ("2/3", "0.666666666667", True),
    ("0.0000002", "0.0000001", False),
    ("1e-30", "1e-20", False),
    ("12345678901234567890", "12345678901234567891", False),
    ("1000000000001", "1000000000000", False),
    ("1e300", "1.0e300", True),
    ("0", "1e-300", False),
  ],
)
def test_decimals_are_equal_within_the_errors_of_floats_and_all_else_exactly(first, second, equal):
  one, other = numbers.read(first), numbers.read(second)
  assert numbers.same(one, other) == numbers.same(other, one) == equal


@given(st.fractions(max_denominator=10**6))
def test_a_fraction_is_read_as_it_was_written(value):
  latex = rf"\frac{{{value.numerator}}}{{{value.denominator}}}"
  assert numbers.read(str(value)) == numbers.read(latex) == Written(value)


@given(st.integers(-(10**15), 10**15))
def test_separators_of_thousands_change_nothing(value):
  for separator in (",", "{,}", r"\,", " ", "~", "_"):
    read = numbers.read(f"{value:,}".replace(",", separator))
    assert read == (None if separator == "_" and abs(value) >= 1000 else Written(Fraction(value)))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_of_json_is_read_exactly(value):
  read = numbers.read(repr(value))
  assert read is not None and read.value == Fraction(repr(value))


@given(st.text(alphabet="0123456789.,+-/eE%$ {}\\^!x", max_size=30))
def test_no_text_raises(text):
  numbers.read(text)
