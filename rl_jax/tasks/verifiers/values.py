"""Values that a program reports as plain data, parsed without running its code (see `isolation.driver`)."""

from __future__ import annotations

import dataclasses
import decimal
import fractions
from collections.abc import Callable
from typing import Any

LARGEST_EXPONENT = 10_000


class Unreadable(Exception):
  """Error of a report that is not a value."""


@dataclasses.dataclass(frozen=True, eq=False)
class Opaque:
  """An object that is not plain data: equal only to itself, true or false as reported."""

  kind: str
  truth: bool

  def __bool__(self) -> bool:
    return self.truth


_FORMS: dict[str, Callable[[Any], Any]] = {
  "int": lambda x: int(x, 16),
  "float": float.fromhex,
  "text": lambda x: _text(x),
  "tuple": lambda x: tuple(map(_decoded, x)),
  "set": lambda x: frozenset(map(_decoded, x)),  # equal to a set, and may be an item of one
  "dict": lambda x: {_decoded(k): _decoded(v) for k, v in x},
  "bytes": bytes.fromhex,
  "complex": lambda x: complex(*map(_decoded, x)),
  "range": lambda x: range(*map(_decoded, x)),
  "number": lambda x: _number(_text(x)),
  "object": lambda x: Opaque(_text(x[0]), bool(x[1])),
}


def _text(report: str) -> str:
  return bytes.fromhex(report).decode("utf-8", "surrogatepass")


def _number(text: str) -> fractions.Fraction | decimal.Decimal:
  if "/" in text:
    return fractions.Fraction(text)
  number = decimal.Decimal(text)
  if number.is_finite() and abs(number.adjusted()) > LARGEST_EXPONENT:
    raise ValueError("a whole number of it would not end")
  return number


def decoded(report: Any) -> Any:
  """The value of a report. Raises: Unreadable."""
  try:
    return _decoded(report)
  except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError) as error:
    raise Unreadable(f"no plain value ({type(error).__name__})") from error


def _decoded(report: Any) -> Any:
  if isinstance(report, dict):
    ((form, content),) = report.items()
    return _FORMS[form](content)
  return [_decoded(item) for item in report] if isinstance(report, list) else report
