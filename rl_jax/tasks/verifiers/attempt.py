"""One call of a verifier, which may raise or be brought down by what it reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.errors import CannotVerify

FAILURES = (
  ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, OSError, RuntimeError, SyntaxError,
  TypeError, ValueError,
)  # fmt: skip
"""What a verifier may raise and its process outlive."""
EXHAUSTED = (MemoryError, RecursionError)
"""What a response brings about that is too large or too deep."""
LARGEST = 1e19
"""Rewards beyond it have squares beyond float32, in which the statistics of a group are."""
LONGEST_LINE = 500


class Attempt(NamedTuple):
  """What came of a call.

  Attributes:
    reward, parts: the verdict.
    error: why there is no verdict; "" if nothing failed.
    exhausted: the response was more than the verifier can read.
    fatal: no response can be scored.
  """

  reward: float | None = None
  parts: Mapping[str, float] = {}
  error: str = ""
  exhausted: bool = False
  fatal: bool = False


def attempt(
  verify: Callable[..., Verdict], response: str, entry: Mapping[str, Any], arguments: Mapping[str, Any]
) -> Attempt:
  """Call a verifier and check what it says."""
  try:
    verdict = verify(response, entry, **arguments)
    reward = None if verdict.reward is None else _number(verdict.reward, "the reward")
    return Attempt(reward, {str(name): _number(value, f"part {name!r}") for name, value in verdict.parts.items()})
  except CannotVerify as error:
    return Attempt(error=str(error), fatal=True)
  except EXHAUSTED:
    return Attempt(exhausted=True)
  except FAILURES as error:
    return Attempt(error=line(error))


def _number(value: Any, what: str) -> float:
  number = float(value)
  if not math.isfinite(number) or abs(number) > LARGEST:
    raise ValueError(f"{what} is {number}, want a number of at most {LARGEST:g} either way")
  return number


def line(error: BaseException) -> str:
  """An exception in one line."""
  return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_LINE]
