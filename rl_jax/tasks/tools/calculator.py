"""Calculator: exact arithmetic on numbers in text, never evaluated as a program. The grammar is

sum = product (("+" | "-") product)*
product = signed (("*" | "/" | "//" | "%") signed)*
signed = ("+" | "-") signed | power
power = atom (("**" | "^") signed)?          to the right, and before a sign to its left: -2**2 is -4
atom = number | "(" sum ")"

Numbers are as in answers, 1,200 and 2.5e3, without units and blanks; 1_200 is a number too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction

from rl_jax.tasks.answers import numbers

MOST_CHARACTERS = 512
MOST_DEPTH = 64
"""Deepest nesting of parentheses, signs and powers."""
MOST_DIGITS = 64
"""Largest number of digits of a numerator or denominator."""
SHOWN_DIGITS = 10
"""Number of significant digits of a result that is not a whole number."""

_TOKEN = re.compile(r"\s*((?:\d|\.\d)[\d.,_]*(?:[eE][-+]?\d+)?|\*\*|//|[-+*/%^()])")
_UNDERSCORE = re.compile(r"(?<=\d)_(?=\d)")
_OPERATORS: dict[str, Callable[[Fraction, Fraction], Fraction]] = {
  "+": lambda a, b: a + b,
  "-": lambda a, b: a - b,
  "*": lambda a, b: a * b,
  "/": lambda a, b: a / b,
  "//": lambda a, b: Fraction(a // b),
  "%": lambda a, b: a % b,
}


class CalculatorError(ValueError):
  """Error of an expression without a value; the message has the reason."""


def calculate(expression: str) -> str:
  """The value of an expression, or "error: …" with the reason; never raises.

  >>> calculate("(1 + 2) * 3 / 6"), calculate("10 / 4"), calculate("2 ** 0.5")
  ('1.5', '2.5', 'error: a power is a whole number')
  """
  try:
    return written(value(expression))
  except CalculatorError as error:
    return f"error: {error}"


def value(expression: str) -> Fraction:
  """The exact value of an expression.

  Raises: CalculatorError: it is malformed, too long or deep, divides by 0, or its value has too many digits.
  """
  if len(expression) > MOST_CHARACTERS:
    raise CalculatorError(f"more than {MOST_CHARACTERS} characters")
  parser = _Parser(_tokens(expression))
  result = parser.sum(MOST_DEPTH)
  if parser.tokens:
    raise CalculatorError(f"unexpected {parser.tokens[-1]!r}")
  return result


def written(number: Fraction) -> str:
  """Text of a number: whole ones in full, others as decimals of `SHOWN_DIGITS` digits."""
  if number.denominator == 1:
    return str(number.numerator)
  return f"{float(number):.{SHOWN_DIGITS}g}"


def _tokens(expression: str) -> list[str]:
  """Tokens in reverse order, so that the next one is popped."""
  tokens, at, text = [], 0, expression.rstrip()
  while at < len(text):
    match = _TOKEN.match(text, at)
    if match is None:
      raise CalculatorError(f"unexpected {text[at:].lstrip()[0]!r}")
    tokens.append(match[1])
    at = match.end()
  return tokens[::-1]


class _Parser:
  """Recursive descent over tokens; each rule takes the remaining depth."""

  def __init__(self, tokens: list[str]):
    self.tokens = tokens

  def next_is(self, *symbols: str) -> bool:
    return bool(self.tokens) and self.tokens[-1] in symbols

  def sum(self, depth: int) -> Fraction:
    result = self.product(depth)
    while self.next_is("+", "-"):
      result = _apply(self.tokens.pop(), result, self.product(depth))
    return result

  def product(self, depth: int) -> Fraction:
    result = self.signed(depth)
    while self.next_is("*", "/", "//", "%"):
      result = _apply(self.tokens.pop(), result, self.signed(depth))
    return result

  def signed(self, depth: int) -> Fraction:
    if depth == 0:
      raise CalculatorError(f"nested more than {MOST_DEPTH} deep")
    if self.next_is("+", "-"):
      return _apply(self.tokens.pop(), Fraction(0), self.signed(depth - 1))
    base = self.atom(depth)
    if self.next_is("**", "^"):
      self.tokens.pop()
      return _power(base, self.signed(depth - 1))
    return base

  def atom(self, depth: int) -> Fraction:
    if not self.tokens:
      raise CalculatorError("the expression ends too early")
    token = self.tokens.pop()
    if token == "(":
      result = self.sum(depth - 1)
      if not self.next_is(")"):
        raise CalculatorError("a parenthesis is not closed")
      self.tokens.pop()
      return result
    if not token[0].isdigit() and token[0] != ".":
      raise CalculatorError(f"unexpected {token!r}")
    number = numbers.read(_UNDERSCORE.sub("", token))
    if number is None:
      raise CalculatorError(f"{token!r} is no number")
    return _limited(number.value)


def _apply(operator: str, a: Fraction, b: Fraction) -> Fraction:
  if operator in ("/", "//", "%") and b == 0:
    raise CalculatorError("division by 0")
  return _limited(_OPERATORS[operator](a, b))


def _power(base: Fraction, exponent: Fraction) -> Fraction:
  if exponent.denominator != 1:
    raise CalculatorError("a power is a whole number")
  if base == 0 and exponent < 0:
    raise CalculatorError("division by 0")
  # Known before it is computed: |exponent| times the digits of the base.
  digits = len(str(max(abs(base.numerator), base.denominator)))
  if abs(base) not in (0, 1) and abs(exponent) * max(digits - 1, 0.3) > MOST_DIGITS:
    raise CalculatorError(f"more than {MOST_DIGITS} digits")
  return _limited(base**exponent.numerator)


def _limited(number: Fraction) -> Fraction:
  if max(abs(number.numerator), number.denominator) >= 10**MOST_DIGITS:
    raise CalculatorError(f"more than {MOST_DIGITS} digits")
  return number
