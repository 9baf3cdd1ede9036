"""Programs in responses, scored by unit tests in the sandbox."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.errors import CannotVerify

_BLOCK = re.compile(r"^[ \t]*```[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*```[ \t]*$|\Z)", re.DOTALL | re.MULTILINE)
REWARDS = ("all", "share")
UNJUDGED = ("unscored", "failed")


def code_block(response: str) -> str | None:
  """The last fenced block that is marked as Python; without one the last that is not marked as another language.

  A block that the response does not close reaches to its end. None: there is no block.
  """
  blocks = [(language.lower(), code) for language, code in _BLOCK.findall(response)]
  for known in (("python", "python3", "py"), ("",)):
    found = [code for language, code in blocks if language in known]
    if found:
      return found[-1]
  return None


def unit_tests_parts(*, slots: int = 0, **_: Any) -> tuple[str, ...]:
  """Names of the parts of `unit_tests`."""
  return ("tests", "tests_passed", "tests_unjudged", *(f"test/{slot}" for slot in range(slots)))


def unit_tests(
  response: str,
  entry: Mapping[str, Any],
  *,
  reward: str = "all",
  unjudged: str = "unscored",
  slots: int = 0,
  limits: Mapping[str, Any] | None = None,
) -> Verdict:
  """The verdict of `entry["tests"]`, a list of `sandbox.Test`, on the response's last block of code.

  Parts: numbers of tests, of those passed and without verdict; and of the first `slots` tests `test/<u>`, 1 passed, 0
  failed, -1 no verdict. With p the stack of test/<u> on a last axis, `kernels.rewards.unit_tests` takes p == 1 as
  passes and u < tests as test mask. A response without code fails all tests.

  Args:
    reward: "all", 1 if every test passed, else 0; "share", the share of tests passed.
    unjudged: what a test without verdict (the program had to be ended) does: "unscored", the row has no reward, which
      a program can bring about by an endless loop; "failed", it counts as failed.
    slots: number of tests with a part of their own.
    limits: fields of `sandbox.Limits`.

  Raises:
    CannotVerify: the entry has no tests, an argument makes no sense, or there is no isolation.
    ValueError: a test makes no sense.
  """
  for name, value, known in (("reward", reward, REWARDS), ("unjudged", unjudged, UNJUDGED)):
    if value not in known:
      raise CannotVerify(f"unit_tests: {name} is {value!r}, want one of {', '.join(known)}")
  tests = entry.get("tests")
  if not isinstance(tests, list | tuple) or not tests:
    raise CannotVerify(f"unit_tests: an entry needs a list of `tests`, this has {', '.join(entry) or 'nothing'}")
  program = code_block(response)
  if program is None:
    passed: list[bool | None] = [False] * len(tests)
  else:
    passed = [outcome.passed for outcome in sandbox.run(program, tests, _limits(limits or {}))]
  unknown, good = passed.count(None), passed.count(True)
  numbers = [-1.0 if one is None else float(one) for one in passed[:slots]]
  parts = {"tests": float(len(tests)), "tests_passed": float(good), "tests_unjudged": float(unknown)}
  parts |= {f"test/{slot}": number for slot, number in enumerate(numbers)}
  if unknown and unjudged == "unscored":
    return Verdict(None, parts)
  return Verdict(good / len(tests) if reward == "share" else float(good == len(tests)), parts)


def _limits(given: Mapping[str, Any]) -> sandbox.Limits:
  unknown = set(given) - set(sandbox.Limits._fields)
  if unknown:
    raise CannotVerify(f"unit_tests: unknown limits {sorted(unknown)} (known: {', '.join(sandbox.Limits._fields)})")
  whole = {name: int(value) for name, value in given.items() if not name.endswith("seconds")}
  return sandbox.DEFAULTS._replace(**{**given, **whole})
