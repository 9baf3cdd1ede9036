"""Ranges of numbers in a config; each package has a table for its own sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rl_jax.errors import UserError

_LARGEST = 2**31 - 1
"""Bound of whole numbers, which are int32 in a program."""
_LARGEST_FLOAT = 3.4e38
"""Bound of numbers, which are float32 in a program and infinite beyond it."""


class Range(NamedTuple):
  """Range of the numbers in a field, or of each number if the field has several. Infinities are always outside.

  Attributes:
    low, high: bounds, inside the range.
    above, below: `low`, or `high`, is outside.
    whole: only whole numbers.
    or_none: None is allowed too.
  """

  low: float = -_LARGEST_FLOAT
  high: float = _LARGEST_FLOAT
  above: bool = False
  below: bool = False
  whole: bool = False
  or_none: bool = False

  def holds(self, value: Any) -> bool:
    """Return whether the value is in the range."""
    if value is None:
      return self.or_none
    if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
      return False
    inside = value > self.low if self.above else value >= self.low
    return inside and (value < self.high if self.below else value <= self.high)

  def optional(self) -> Range:
    """This range with None allowed too."""
    return self._replace(or_none=True)

  def wanted(self, value: Any) -> str:
    """Description of the range for an error message; int32 and float32 bounds are named only if exceeded."""
    number = not isinstance(value, bool) and isinstance(value, int | float)
    least = f"above {self.low:.10g}" if self.above else f"at least {self.low:.10g}"
    most = f"below {self.high:.10g}" if self.below else f"at most {self.high:.10g}"
    shown = [least] if self.low > -_LARGEST_FLOAT or (number and value < self.low) else []
    shown += [most] if self.high < _LARGEST or (number and value > self.high) else []
    kind = "a whole number" if self.whole else "a finite number"
    return " ".join(filter(None, (kind, " and ".join(shown), "or None" * self.or_none)))


FINITE = Range()
NOT_NEGATIVE = Range(0)
POSITIVE = Range(0, above=True)
SHARE = Range(0, 1)
DECAY = Range(0, 1, below=True)
"""Range of the decay of an average, which never moves at 1."""
WHOLE = Range(0, _LARGEST, whole=True)
COUNT = Range(1, _LARGEST, whole=True)
SEED = Range(0, 2**32 - 1, whole=True)


def check(section: str, values: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
  """Raise UserError for the first field of a section outside its range. Missing fields pass: a recorded config may
  predate them.

  Args:
    section: name of the section, "" for the top level.
  """
  for name, allowed in ranges.items():
    if name not in values:
      continue
    for place, number in _numbers(f"{section}.{name}" if section else name, values[name]):
      if not allowed.holds(number):
        raise UserError(f"{place}: want {allowed.wanted(number)}, got {number!r}")


def check_finite(values: Mapping[str, Any], prefix: str = "") -> None:
  """Raise UserError for any number in a config that is not finite in float32: it could not be recorded."""
  for name, value in values.items():
    if isinstance(value, Mapping):
      check_finite(value, f"{prefix}{name}.")
    for place, number in _numbers(f"{prefix}{name}", value):
      if isinstance(number, float) and not abs(number) <= _LARGEST_FLOAT:
        raise UserError(f"{place}: want a finite number, got {number}")


def _numbers(place: str, value: Any) -> Iterator[tuple[str, Any]]:
  """Numbers of a field, each with its place, as in "learning_rates[1]"."""
  if isinstance(value, tuple | list):
    for index, item in enumerate(value):
      yield from _numbers(f"{place}[{index}]", item)
  else:
    yield place, value
