"""Ranges of numbers in a config: each room has a table of those of its own sections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from rl_jax.errors import UserError

_LARGEST = 2**31 - 1
"""Whole numbers are int32 in a program."""
_LARGEST_FLOAT = 3.4e38
"""Numbers are float32 in a program, and beyond it infinite."""


class Range(NamedTuple):
  """The numbers that a field may hold; of a field that holds several, each of them. Infinities are never in.

  Attributes:
    low, high: the least and the largest.
    above, below: `low`, or `high`, is itself outside.
    whole: only whole numbers.
    or_none: None too.
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
    """This range, or None."""
    return self._replace(or_none=True)

  def wanted(self, value: Any) -> str:
    """Description of the range for an error message: bounds of the machine are named only if the value passes them."""
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
"""Range of an average's decay: at 1 the average would never move."""
WHOLE = Range(0, _LARGEST, whole=True)
COUNT = Range(1, _LARGEST, whole=True)
SEED = Range(0, 2**32 - 1, whole=True)


def check(section: str, values: Mapping[str, Any], ranges: Mapping[str, Range]) -> None:
  """Raise UserError for the first field of a section that is out of its range. Missing fields pass, as recorded configs
  may be older than they are.

  Args:
    section: its name, "" for the fields at the top.
  """
  for name, allowed in ranges.items():
    if name not in values:
      continue
    for place, number in _numbers(f"{section}.{name}" if section else name, values[name]):
      if not allowed.holds(number):
        raise UserError(f"{place}: want {allowed.wanted(number)}, got {number!r}")


def check_finite(values: Mapping[str, Any], prefix: str = "") -> None:
  """Raise UserError for a number in a config that is not finite in float32, wherever it is: none of them could be
  recorded and read again."""
  for name, value in values.items():
    if isinstance(value, Mapping):
      check_finite(value, f"{prefix}{name}.")
    for place, number in _numbers(f"{prefix}{name}", value):
      if isinstance(number, float) and not abs(number) <= _LARGEST_FLOAT:
        raise UserError(f"{place}: want a finite number, got {number}")


def _numbers(place: str, value: Any) -> Iterator[tuple[str, Any]]:
  """A field's value, or what it holds, with its place: "learning_rates[1]"."""
  if isinstance(value, tuple | list):
    for index, item in enumerate(value):
      yield from _numbers(f"{place}[{index}]", item)
  else:
    yield place, value
