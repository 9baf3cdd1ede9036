"""Lines of a host task to show to the user: what its verifier or environment has to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class Notes:
  """Lines since the last call; what is known before the first response comes with the first one.

  Args:
    sources: what has lines, as a scorer with `notes()`; others have none.
    first: lines before the first response.
  """

  def __init__(self, sources: Sequence[Any], first: list[str]):
    self._sources, self._first, self._last = sources, first, list[str]()

  def __call__(self) -> list[str]:
    first, self._first = self._first, []
    return first + self._new()

  def reasons(self) -> list[str]:
    """The last lines of the sources, told before or not."""
    self._new()
    return self._last

  def _new(self) -> list[str]:
    lines = [note for source in self._sources for note in getattr(source, "notes", list)()]
    self._last = lines or self._last
    return lines
