"""Typed access to the fields of a model file; values of a wrong type or range are refused here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.models.errors import ModelFileError, shown

MOST = 2**24
"""Upper bound on sizes, far above any known model."""

_REQUIRED: Any = object()


class Fields:
  """The fields of one file, or of one object in it. A field that is null counts as missing.

  Args:
    values: fields by name.
    where: the file, for messages.
    noun: word before the name of a missing field, in messages.

  Every method raises ModelFileError in one line with the file and the field: the field is missing and there is no
  default, or its value is of another type or out of range.
  """

  def __init__(self, values: Mapping[str, Any], where: object, noun: str = "field "):
    self._values, self._where, self._noun = values, where, noun

  def whole(self, name: str, default: Any = _REQUIRED, *, low: int = 1, high: int = MOST, means: str = "") -> Any:
    """Whole number from `low` to `high`; `means` is the field of our config that it sets."""
    good = lambda value: isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
    return self._read(name, default, good, f"a whole number from {low} to {high}", means)

  def number(self, name: str, default: Any = _REQUIRED, *, high: float = 1e12) -> Any:
    """A number above 0, at most `high`, as float."""
    good = lambda value: isinstance(value, int | float) and not isinstance(value, bool) and 0 < value <= high
    value = self._read(name, default, good, f"a number above 0 and at most {high:g}")
    return float(value) if isinstance(value, int) else value

  def text(self, name: str, default: Any = _REQUIRED) -> Any:
    """A text."""
    return self._read(name, default, lambda value: isinstance(value, str), "text")

  def flag(self, name: str, default: Any = _REQUIRED) -> Any:
    """True or False."""
    return self._read(name, default, lambda value: isinstance(value, bool), "true or false")

  def texts(self, name: str, default: Any = _REQUIRED) -> Any:
    """A list of texts."""
    return self._read(name, default, _list_of(str), "a list of text")

  def wholes(self, name: str, default: Any = _REQUIRED) -> Any:
    """A list of whole numbers."""
    return self._read(name, default, _list_of(int), "a list of whole numbers")

  def section(self, name: str, default: Any = _REQUIRED) -> Any:
    """An object, as a dict."""
    return self._read(name, default, lambda value: isinstance(value, dict), "an object")

  def either(self, name: str, default: Any, kinds: tuple[type, ...], want: str) -> Any:
    """A value of one of several types, described by `want`."""
    return self._read(name, default, lambda value: isinstance(value, kinds) and not isinstance(value, bool), want)

  def raw(self, name: str, default: Any) -> Any:
    """A value of any type."""
    return self._values.get(name, default)

  def replaced(self, name: str, value: Any) -> Fields:
    """These fields with another value in one of them."""
    return Fields({**self._values, name: value}, self._where, self._noun)

  def refused(self, name: str, want: str) -> ModelFileError:
    """Error for a field with an unexpected value."""
    return ModelFileError(f"{self._where}: {name}={shown(self._values.get(name))}: want {want}")

  def _read(self, name: str, default: Any, good: Callable[[Any], bool], want: str, means: str = "") -> Any:
    value = self._values.get(name)
    if value is None:
      if default is _REQUIRED:
        raise ModelFileError(f"{self._where} has no {self._noun}{name!r}")
      return default
    if not (good(value) and _is_unicode(value)):
      own_field = f" ({means}={shown(value)})" if means else ""
      raise ModelFileError(f"{self._where}: {name}={shown(value)}{own_field}: want {want}")
    return value


def _is_unicode(value: Any) -> bool:
  """Return whether the text in a value has no lone surrogates, which JSON can write as "\\ud83d"."""
  try:
    "".join(text for text in (value if isinstance(value, list) else [value]) if isinstance(text, str)).encode()
  except UnicodeEncodeError:
    return False
  return True


def _list_of(kind: type) -> Callable[[Any], bool]:
  return lambda value: (
    isinstance(value, list) and all(isinstance(item, kind) and not isinstance(item, bool) for item in value)
  )
