r"""Numbers as text writes them, read exactly: 1,200, -3/4, 1\frac{1}{2}, 2.5e3, 6\times 10^{23}, 0.\overline{3}, $5.

Digits are joined across commas and blanks only as groups of three. Text that is a number but for one sign is none.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

MOST_CHARACTERS = 400
MOST_EXPONENT = 2000
"""Largest exponent of ten in scientific notation."""
FLOAT_ERROR = Fraction(1, 10**15)
"""Relative tolerance between decimals: what a sum of doubles gathers, and less than one in the fifteenth digit."""
ROUNDING = Fraction(1, 10**9)
"""Relative tolerance between a decimal and a number that has no finite decimal: the decimal needs nine digits."""

GROUPED = r"[1-9]\d{0,2}(?:,\d{3})+(?![\d,])"
"""A whole number with commas of thousands."""


class Written(NamedTuple):
  """A number and how it was written.

  Attributes:
    decimal: with a point or an exponent, so that it may be a rounded one.
    unit: "%", a sign of currency, or "".
  """

  value: Fraction
  decimal: bool = False
  unit: str = ""


_WHOLE = r"""(?:[1-9]\d{0,2}(?:(?P<sep>\{,\}|,\\!|\\[,; ]|[, ~])\d{3})(?:(?P=sep)\d{3})*|\d+)"""
_TEN = r"10\s*(?:\^|\*\*)\s*(?:\{\s*(?P<e1>[-+]?\d+)\s*\}|(?P<e2>[-+]?\d+))"
_MAGNITUDE = rf"(?:[eE](?P<e0>[-+]?\d+)|\s*(?:\\times|\\cdot|\*|[xX])\s*{_TEN})"
_DECIMAL = re.compile(
  rf"(?P<whole>{_WHOLE})?(?P<point>\.(?P<digits>\d*))?"
  rf"(?:(?<=[.\d])(?:\\overline|\\bar)\s*\{{?(?P<period>\d+)\}}?)?{_MAGNITUDE}?"
)
_POWER_OF_TEN = re.compile(_TEN)
_RATIO = r"\\[dtc]?frac\s*(?:\{\s*(?P<n1>[-+]?\d+)\s*\}|(?P<n2>\d))\s*(?:\{\s*(?P<d1>[-+]?\d+)\s*\}|(?P<d2>\d))"
_FRACTION = re.compile(rf"{_RATIO}|(?P<n3>\d+|[1-9]\d{{0,2}}(?:,\d{{3}})+)\s*/\s*(?P<d3>[-+]?\d+)")
# Three digits behind a blank may belong to the whole number or to the fraction: "1 200/300" is neither.
_MIXED = re.compile(rf"(?P<i1>\d+)\s*(?:\\[,; ]|~)?\s*{_RATIO}|(?P<i2>\d+)[ ~]\s*(?!\d{{3}}/)(?P<n3>\d+)/(?P<d3>\d+)")
EXPRESSION = (
  rf"(?:(?:\d+\s*)?{_RATIO}|\d+[ ~]\d{{1,2}}/\d+"
  rf"|(?:{_WHOLE}(?:\.\d+)?|\.\d+)(?:\\(?:overline|bar)\{{\d+\}})?{_MAGNITUDE}?(?:\s?/\s?\d+(?!\.?\d))?)"
)
"""A number in running text, without its sign. Not everything that it matches is one: `read` decides."""
_SIGN = re.compile(r"([-+]?)\s*(?:\\text\{\s*\\?([$€£¥₹])\s*\}|\\?([$€£¥₹]))?\s*([-+]?)\s*")
_UNIT = re.compile(r"\s*(\\?%|\\?[$€£¥₹])$")
_START = re.compile(r"[-+\\$€£¥₹\d.]")


def read(text: str) -> Written | None:
  r"""The number that plain text is; None for other text and for numbers beyond all use.

  >>> read("1,234.50")
  Written(value=Fraction(2469, 2), decimal=True, unit='')
  >>> read(r"-1\frac12"), read("1e-05") == read("0.00001")
  (Written(value=Fraction(-3, 2), decimal=False, unit=''), True)
  >>> read("1,2"), read("1 2"), read("3/0")
  (None, None, None)
  """
  if text.isdecimal() and text.isascii() and len(text) <= MOST_CHARACTERS:
    return Written(Fraction(int(text)))
  if len(text) > MOST_CHARACTERS or not _START.match(text):
    return None
  text, unit = text.rstrip(), ""
  if match := _UNIT.search(text):
    text, unit = text[: match.start()], match[1].lstrip("\\")
  sign = _SIGN.match(text)
  assert sign is not None, "every part of a sign may be missing"
  before, currency, after = sign[1], sign[2] or sign[3], sign[4]
  if (before and after) or (currency and unit):
    return None
  bare = text[sign.end() :]
  number = _decimal(bare) or _fraction(bare)
  if number is None:
    return None
  return Written(-number.value if "-" in (before, after) else number.value, number.decimal, currency or unit)


def same(a: Written, b: Written) -> bool:
  """Return whether two numbers are equal, units aside: decimals within the errors of floats, all else exactly."""
  return a.value == b.value or ((a.decimal or b.decimal) and _near(a, b))


def _near(a: Written, b: Written) -> bool:
  finite = all(_is_finite_decimal(number.value) for number in (a, b))
  return abs(a.value - b.value) <= (FLOAT_ERROR if finite else ROUNDING) * max(abs(a.value), abs(b.value))


def _is_finite_decimal(value: Fraction) -> bool:
  """Return whether the denominator divides a power of ten."""
  return pow(10, value.denominator.bit_length(), value.denominator) == 0 if value.denominator > 1 else True


def _decimal(text: str) -> Written | None:
  if power := _POWER_OF_TEN.fullmatch(text):
    return _scaled(Fraction(1), power, decimal=False)
  match = _DECIMAL.fullmatch(text)
  if match is None or not (match["whole"] or match["digits"] or match["period"]):
    return None
  digits, integer = match["digits"] or "", _integer(match["whole"])
  value = Fraction(integer * 10 ** len(digits) + int(digits or 0), 10 ** len(digits))
  if match["period"]:
    if match["point"] is None:
      return None
    value += Fraction(int(match["period"]), 10 ** len(digits) * (10 ** len(match["period"]) - 1))
  return _scaled(value, match, decimal=match["point"] is not None and not match["period"])


def _scaled(value: Fraction, match: re.Match[str], *, decimal: bool) -> Written | None:
  groups = match.groupdict()
  exponent = next((groups[name] for name in ("e0", "e1", "e2") if groups.get(name)), None)
  if exponent is None:
    return Written(value, decimal)
  if len(exponent) > 6 or abs(int(exponent)) > MOST_EXPONENT:
    return None
  return Written(value * Fraction(10) ** int(exponent), decimal or int(exponent) < 0)


def _fraction(text: str) -> Written | None:
  match = _FRACTION.fullmatch(text) or _MIXED.fullmatch(text)
  if match is None:
    return None
  groups = match.groupdict()
  numerator = _integer(groups["n1"] or groups["n2"] or groups["n3"])
  denominator = int(groups["d1"] or groups["d2"] or groups["d3"])
  integer = groups.get("i1") or groups.get("i2")
  if denominator == 0 or (integer and not 0 < numerator < denominator):
    return None
  return Written(Fraction(numerator, denominator) + int(integer or 0))


def _integer(text: str | None) -> int:
  return int(re.sub(r"[^-+\d]", "", text)) if text else 0
