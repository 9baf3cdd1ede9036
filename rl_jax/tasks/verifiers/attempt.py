"""Calls of a verifier, which may raise or crash on a response, and counts of their outcomes."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from rl_jax.inputs.users_code import place_of
from rl_jax.tasks.scoring import Verdict, verdict_of
from rl_jax.tasks.verifiers.errors import CannotVerify

EXHAUSTED = (MemoryError, RecursionError)
"""Errors caused by a response that is too large or too deep."""
LARGEST = 1e19
"""Largest magnitude of a reward, whose square must fit in float32 for the statistics of groups."""
LONGEST_LINE = 500


class Attempt(NamedTuple):
  """Result of a call.

  Attributes:
    reward, parts, reason: the verdict.
    error: why there is no verdict; "" if nothing failed.
    exhausted: the response was more than the verifier can read.
    fatal: no response can be scored.
  """

  reward: float | None = None
  parts: Mapping[str, float] = {}
  error: str = ""
  exhausted: bool = False
  fatal: bool = False
  reason: str = ""


@contextlib.contextmanager
def without_copies() -> Iterator[None]:
  """Run third-party code, and end every copy of this process that it has made by a fork and that comes out of it.

  A copy would answer a second time, and take messages that are meant for this process.
  """
  own = os.getpid()
  try:
    yield
  finally:
    if os.getpid() != own:
      os._exit(0)


def attempt(
  verify: Callable[..., Verdict], response: str, entry: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Attempt:
  """Call a verifier and check its result."""
  try:
    with without_copies():
      result = verify(response, entry, **arguments)
    verdict = verdict_of(result)
    reward = None if verdict.reward is None else _number(verdict.reward, "the reward")
    parts = {str(name): _number(value, f"part {name!r}") for name, value in verdict.parts.items()}
    return Attempt(reward, parts, reason=_short(str(verdict.reason)))
  except CannotVerify as error:
    return Attempt(error=str(error), fatal=True)
  except EXHAUSTED:
    return Attempt(exhausted=True)
  except Exception as error:  # a verifier may be any code; if its process ended, a response would be blamed
    return Attempt(error=line(error, verify))


def _number(value: Any, what: str) -> float:
  if not hasattr(value, "__float__"):
    raise TypeError(f"{what} is {str(value)[:60]!r} ({type(value).__name__}), want a number")
  number = float(value)
  if not math.isfinite(number) or abs(number) > LARGEST:
    raise ValueError(f"{what} is {number}, want a number from {-LARGEST:g} to {LARGEST:g}")
  return number


def line(error: BaseException, function: Callable[..., Any] | None = None) -> str:
  """Exception as one line, with file and line of the user's code that raised it: see `place_of`."""
  try:
    text = str(error)
  except Exception:  # the text of anybody's exception is anybody's code too
    text = "an exception without a text"
  place = place_of(error, function)
  of_place = f" ({place})" if place else ""
  return _short(f"{type(error).__name__}: {text}" if text else type(error).__name__) + of_place


def _short(text: str) -> str:
  return " ".join(text.split())[:LONGEST_LINE]


@dataclasses.dataclass
class Tally:
  """Counts of responses without a reward, for reports.

  Attributes:
    verifier: its name.
    timeouts, crashes, errors: responses that took too long; that ended their worker or exhausted its memory; on which
      the verifier raised.
    refusals: responses without a reward for a reason that the verifier gave.
    last_error, last_reason: what it raised, and the reason that it gave, last; "" so far.
  """

  verifier: str
  timeouts: int = 0
  crashes: int = 0
  errors: int = 0
  refusals: int = 0
  last_error: str = ""
  last_reason: str = ""
  _told: tuple[int, ...] = (0, 0, 0)

  def raised(self, error: str) -> None:
    """Count an error of the verifier."""
    self.errors, self.last_error = self.errors + 1, error

  def judged(self, verdict: Verdict) -> Verdict:
    """Count the outcome of a response by its verdict; return the verdict."""
    self.timeouts += bool(verdict.parts.get("timed_out"))
    self.crashes += bool(verdict.parts.get("crashed"))
    if verdict.reward is None and verdict.reason:
      self.refusals, self.last_reason = self.refusals + 1, verdict.reason
    return verdict

  def notes(self) -> list[str]:
    """Lines on the counts since the last call."""
    counts = (self.errors, self.timeouts + self.crashes, self.refusals)
    lines = (
      f"{self.verifier} has raised {self.errors} times, last: {self.last_error}",
      f"{self.verifier}: {self.timeouts} responses have timed out and {self.crashes} have crashed",
      f"{self.verifier} has given no reward {self.refusals} times, last: {self.last_reason}",
    )
    last_counts, self._told = self._told, counts
    return [text for text, now, then in zip(lines, counts, last_counts, strict=True) if now != then]
