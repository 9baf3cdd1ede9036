"""Units of answers, and numbers with and without them."""

from __future__ import annotations

import pytest

from rl_jax.tasks.answers import quantities
from rl_jax.tasks.answers.reading import read
from rl_jax.tasks.answers.values import Quantity
from rl_jax.tasks.verifiers.mathematics import equal


@pytest.mark.parametrize(
  ("text", "unit"),
  [
    ("5 km", "km"), ("5km", "km"), (r"5\,\text{km}", "km"), (r"5 \mathrm{~kilometres}", "km"), ("5 apples", "apple"),
    ("5%", "%"),
    (r"5\,\%", "%"), ("5 percent", "%"), ("5°", "degree"), ("5 degrees", "degree"), ("$5", "$"), (r"\$5", "$"),
    ("5 dollars", "$"),
    ("-$5", "$"), ("5 USD", "$"), ("5€", "€"), (r"5 \text{ m/s}", "m / s"), (r"5\text{ cm}^2", "cm ^ 2"),
    ("5 inches", "in"),
    (r"5 \text{ square feet}", "square ft"), ("5 miles per hour", "mi per h"), (r"\frac{5}{2} \text{ hours}", "h"),
  ],
)  # fmt: skip
def test_the_unit_of_an_answer(text, unit):
  value = read(text)[0]
  assert isinstance(value, Quantity) and value.unit == unit


@pytest.mark.parametrize(
  "text",
  ["5 hours 30 minutes", "5 x", "5 and", "$5 km", "5 is right", "5 plus 3", "km", "5 over 3", r"5 \text{ or } 6"],
)
def test_what_is_no_quantity(text):
  assert not isinstance(read(text)[0], Quantity)


@pytest.mark.parametrize(
  ("unit", "power"),
  [
    ("km", False),
    ("km ^ 2", True),
    ("square km", True),
    ("m / s", False),
    ("square unit", False),
    ("unit ^ 2", False),
    ("", False),
  ],
)
def test_units_with_a_power(unit, power):
  assert quantities.has_power(unit) == power


SAME = [
  ("5 km", "5"), ("5", "5 km"), ("5 km", r"5\text{ kilometers}"), ("50%", "50"), ("0.5", r"50\%"), (r"12.5\%", "0.125"),
  ("30°", "30"), ("30 degrees", r"30^\circ"), ("$5", "5"), ("5 dollars", r"\$5.00"), ("12 square units", "12"),
  (r"60 \text{ miles per hour}", "60"), ("3.5 million dollars", "3500000"), ("2 dozen", "24"),
  (r"12\text{ cm}^2", r"12\,\mathrm{cm}^2"),
  (r"5\text{ m}", "5"), (r"5\,\mathrm{s}", "5 seconds"), (r"-1.6\,\text{C}", "-1.6"),
  (r"5 \mathrm{~J} \cdot \mathrm{s}", "5"),
  ("3 hours", "3 hrs"), (r"5 \,\mathrm{A}", r"5\text{ A}"), (r"2\mathrm{A}", "2A"), (r"2\mathrm{A}+\mathrm{B}", "B+2A"),
  (r"\cos 58^\circ", r"\cos58"), (r"2\sin 30^\circ", r"2\sin 30^\circ"),
]  # fmt: skip
OTHER = [
  (r"5\text{ m}", r"5\text{ s}"), ("5m", "5"), (r"5\mathrm{e}", "5"), (r"5\mathrm{i}", "5"), (r"5\mathrm{x}", "5"),
  ("5 km", "5 m"), ("5 km", "6"), (r"12 \text{ km}^2", "12"), (r"12 \text{ cubic meters}", "12"), ("5%", "0.5"),
  ("500%", "0.05"),
  ("$5", "5%"), ("30%", r"30^\circ"), ("5 km", r"5\text{ km}^2"), ("5 km, 6 km", "5, 6"), ("5 million", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SAME)
def test_a_unit_that_one_side_has_does_not_count(given, wanted):
  assert equal(given, wanted, form="simplified")


@pytest.mark.parametrize(("given", "wanted"), OTHER)
def test_other_units_or_amounts(given, wanted):
  assert not equal(given, wanted)
