"""Programs in responses, scored by unit tests in the sandbox."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers import assertions, sandbox
from rl_jax.tasks.verifiers import service as services
from rl_jax.tasks.verifiers.code_blocks import code_block
from rl_jax.tasks.verifiers.errors import CannotVerify

REWARDS = ("all", "share")
UNJUDGED = ("failed", "unscored")
MOST_SLOTS = 4096
"""Largest number of test slots, each of which is a number per row of a batch."""


def unit_tests_parts(*, slots: int = 0, **_: Any) -> tuple[str, ...]:
  """Names of the parts of `unit_tests`. Raises: CannotVerify: `slots` makes no sense."""
  _check_slots(slots)
  return (
    "tests", "tests_passed", "tests_unjudged", "tests_inside", *(f"test/{slot}" for slot in range(slots))
  )  # fmt: skip


def unit_tests_seconds(*, limits: Mapping[str, Any] | None = None, **_: Any) -> float:
  """CPU time that `unit_tests` may need for one response."""
  return _limits(limits or {}).total_seconds


def unit_tests_ready(
  entries: Iterable[Mapping[str, Any]],
  *,
  reward: str = "all",
  unjudged: str = "failed",
  slots: int = 0,
  limits: Mapping[str, Any] | None = None,
  service: str = "",
) -> list[str]:
  """Check all requirements of `unit_tests` before training; return notes for the user.

  Raises:
    CannotVerify: an argument makes no sense, an entry has no usable tests, or there is no isolation; or the service,
      which is asked once, runs no program.
  """
  _check(reward, unjudged, slots, service)
  sandbox.checked(_limits(limits or {}))
  count = inside = 0
  for entry in entries:
    for test in _tests(entry):
      sandbox.check_test(test)
      count += 1
      inside += isinstance(test, str) and assertions.split(test).inside
  if service:
    services.ready(service)
  else:
    sandbox.isolation()
  if not inside:
    return []
  return [
    f"{inside} of {count} unit tests have to run inside the program's interpreter, where a program can forge them: "
    'write `assert CALL == LITERAL` or {"input": …, "output": …} instead'
  ]


def unit_tests(
  response: str,
  entry: Mapping[str, Any],
  *,
  reward: str = "all",
  unjudged: str = "failed",
  slots: int = 0,
  limits: Mapping[str, Any] | None = None,
  service: str = "",
) -> Verdict:
  """Verdict of `entry["tests"]`, a list of `sandbox.Test`, on the response's last code block.

  Parts: numbers of tests, of those passed, of those without verdict and of those that ran inside the program's
  interpreter; and of the first `slots` tests `test/<u>`, 1 passed, 0 failed, -1 no verdict. With p the stack of
  test/<u> on a last axis, `rl_jax.kernels.rewards.unit_tests` takes p == 1 as passes and u < tests as test mask. A
  response without code fails all tests. With the reward "all" and no slots the first failure decides: later tests do
  not run and count as not passed.

  Args:
    reward: "all", 1 if every test passed, else 0; "share", the share of tests passed.
    unjudged: result of a test whose program had to be ended: "failed" counts it as failed; with "unscored" the row has
      no reward, which a program can cause by an endless loop. A row whose program the machine could not run is unscored
      in both cases, unless another test decides.
    slots: number of tests with their own part.
    limits: fields of `sandbox.Limits`.
    service: address of a service that runs programs, see the module `service`; "": they run here.

  Raises:
    CannotVerify: the entry has no tests, an argument makes no sense, or there is no isolation.
    ValueError: a test makes no sense.
  """
  _check(reward, unjudged, slots, service)
  tests, program = _tests(entry), code_block(response)
  if program is None:
    outcomes = [sandbox.Outcome(False, "failed", "no code")] * len(tests)
  else:
    outcomes = sandbox.run(
      program, tests, _limits(limits or {}), address=service, until_failure=reward == "all" and not slots
    )
  results = [outcome.passed for outcome in outcomes]
  good, unknown = results.count(True), results.count(None)
  parts = {
    "tests": float(len(tests)),
    "tests_passed": float(good),
    "tests_unjudged": float(unknown),
    "tests_inside": float(sum(outcome.inside for outcome in outcomes)),
  }
  parts |= {f"test/{slot}": -1.0 if result is None else float(result) for slot, result in enumerate(results[:slots])}
  if reward == "all" and False in results:
    return Verdict(0.0, parts)
  if any(o.ended == "refused" or (o.passed is None and unjudged == "unscored") for o in outcomes):
    return Verdict(None, parts, next((o.output for o in outcomes if o.ended == "refused"), ""))
  return Verdict(good / len(tests) if reward == "share" else float(good == len(tests)), parts)


def _check(reward: str, unjudged: str, slots: int, address: str) -> None:
  for name, value, choices in (("reward", reward, REWARDS), ("unjudged", unjudged, UNJUDGED)):
    if value not in choices:
      raise CannotVerify(f"unit_tests: {name} is {value!r}, want one of {', '.join(choices)}")
  _check_slots(slots)
  if address != "":
    services.check(address)


def _check_slots(slots: int) -> None:
  if isinstance(slots, bool) or not isinstance(slots, int) or not 0 <= slots <= MOST_SLOTS:
    raise CannotVerify(f"unit_tests: slots is {slots!r}, want a whole number from 0 to {MOST_SLOTS}")


def _tests(entry: Mapping[str, Any]) -> list[Any]:
  tests = entry.get("tests")
  if not isinstance(tests, list | tuple) or not tests:
    raise CannotVerify(f"unit_tests: an entry needs a list of `tests`, this has {', '.join(entry) or 'nothing'}")
  return list(tests)


def _limits(limits: Mapping[str, Any]) -> sandbox.Limits:
  return sandbox.limits_of(limits, "unit_tests")
