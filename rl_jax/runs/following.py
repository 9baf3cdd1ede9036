"""Pages of runs that are still being written: rendered on request when files have changed, at a bounded cost."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rl_jax.errors import UserError
from rl_jax.runs import page
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.manifest import read_launches

SHARE = 0.1
"""Largest share of one core's time for rendering: the watched run may be training on the same machine."""


class Rendered(NamedTuple):
  """A page, and the version of the files that it shows."""

  version: str
  document: str
  ended: bool
  """True if every run's last launch has ended."""
  error: str
  """Reason why the files of this version cannot be shown, in which case the document is an older one; else ""."""


class Follower:
  """The current page of runs, for a server with several threads.

  Args:
    directories: the runs.
    render: returns the document of the current files; raises UserError if they are damaged.
    clock: returns seconds, replaceable in tests.
    cost: returns the CPU seconds that this thread has used, replaceable in tests.
  """

  def __init__(
    self,
    directories: Sequence[RunDirectory],
    render: Callable[[], str],
    clock: Callable[[], float] = time.monotonic,
    cost: Callable[[], float] = time.thread_time,
  ) -> None:
    self._directories, self._render, self._clock, self._cost = directories, render, clock, cost
    self._lock = threading.Lock()
    self._rendered: Rendered | None = None
    self._next = 0.0

  def version(self) -> str:
    """Version that `current` would return: that of the files, or of the last page if it is too recent."""
    rendered = self._rendered
    return stamp(self._directories) if rendered is None or self._clock() >= self._next else rendered.version

  def current(self) -> Rendered:
    """The page, rendered anew if its version has changed."""
    with self._lock:
      version = self.version()
      if self._rendered is None or self._rendered.version != version:
        before = self._cost()
        self._rendered = self._new(version)
        self._next = self._clock() + (self._cost() - before) * (1 / SHARE - 1)
      return self._rendered

  def state(self) -> dict[str, str | float | bool | None]:
    """State for the page to poll: its version, True if all runs have ended, an error, seconds since the last line."""
    rendered = self._rendered
    return {
      "version": self.version(),
      "age": age(self._directories),
      "ended": rendered is not None and rendered.ended,
      "error": rendered.error if rendered is not None else "",
    }

  def _new(self, version: str) -> Rendered:
    try:
      ended = all(_has_ended(directory) for directory in self._directories)
      return Rendered(version, self._render(), ended, "")
    except UserError as error:
      name = " · ".join(directory.path.name for directory in self._directories)
      nothing = page.page(f"{name} · rl_jax", [f"<h1>{page.escape(name)}</h1>"])
      return Rendered(version, self._rendered.document if self._rendered else nothing, False, str(error))


def stamp(directories: Sequence[RunDirectory]) -> str:
  """Hash of the sizes and times of the files of runs, which changes when one is written."""
  facts = []
  for directory in directories:
    for path in directory.record:
      try:
        status = os.stat(path)
        facts.append(f"{status.st_size} {status.st_mtime_ns}")
      except OSError:
        facts.append("none")
  return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]


def age(directories: Sequence[RunDirectory]) -> float | None:
  """Seconds since the newest line of any log; None if there is no log."""
  times = [path.stat().st_mtime for directory in directories for path in directory.log if path.exists()]
  return max(0.0, round(time.time() - max(times), 1)) if times else None


def _has_ended(directory: RunDirectory) -> bool:
  launches = read_launches(directory.manifest, missing_ok=True)
  return bool(launches) and "end" in launches[-1]
