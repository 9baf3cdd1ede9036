"""Programs written, tested and repaired over several turns: an environment in Python with real unit tests.

config.task = {"name": "rl_jax.tasks.environments.host",
               "environment": "rl_jax.tasks.environments.code_repair:CodeRepair",
               "arguments": {"file": "problems.jsonl"}}

A line of the file is {"question": "…", "tests": [...]}, see `rl_jax.tasks.verifiers.sandbox.Test`. The last code block
of a turn is tested in the sandbox, and the environment shows the first test that it fails and the program's output. A
program that passes all tests earns 1 and ends the episode. Imports no JAX.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.code_blocks import code_block

NO_CODE = "There is no block of code."


class CodeRepair:
  """One problem.

  Args:
    file: JSON lines with the problems.
    limits: fields of `sandbox.Limits`.
    shown: largest number of characters of a program's output that are shown.
  """

  def __init__(self, file: str, limits: Mapping[str, Any] | None = None, shown: int = 200):
    del file
    self._limits, self._shown = sandbox.limits_of(limits or {}, "code_repair"), shown

  @staticmethod
  def problems(file: str, **_: Any) -> list[dict[str, Any]]:
    """Question and tests of every line."""
    found = []
    for number, text in enumerate(Path(file).read_text(encoding="utf-8").splitlines(), start=1):
      problem = json.loads(text)
      if not isinstance(problem, dict) or not problem.get("question") or not problem.get("tests"):
        raise ValueError(f"{file}, line {number}: want a question and its tests")
      for test in problem["tests"]:
        sandbox.check_useful(test)
      found.append(problem)
    return found

  def reset(self, problem: Mapping[str, Any], seed: int) -> str:
    """Begin; return the question."""
    self._tests = list(problem["tests"])
    return problem["question"]

  def step(self, action: str) -> tuple[str, float, bool]:
    """Test the program of a turn."""
    program = code_block(action)
    if program is None:
      return NO_CODE, 0.0, False
    outcomes = sandbox.run(program, self._tests, self._limits, until_failure=True)
    failed = next((place for place, outcome in enumerate(outcomes) if not outcome.passed), None)
    if failed is None:
      return "", 1.0, True
    test, outcome = self._tests[failed], outcomes[failed]
    if outcome.ended == "refused":
      raise RuntimeError(f"the machine could not run a program: {outcome.output}")
    what = {"failed": "failed", "finished": "gave a wrong output"}.get(outcome.ended, f"was ended ({outcome.ended})")
    shown = f"\n{outcome.output.strip()[-self._shown :]}" if outcome.output.strip() else ""
    return f"This test {what}: {test if isinstance(test, str) else json.dumps(test)}{shown}", 0.0, False
