"""Programs mended over turns, in the sandbox."""

from __future__ import annotations

import json
import sys

import pytest

from rl_jax.tasks.environments.code_repair import NO_CODE, CodeRepair
from rl_jax.tasks.environments.text import Host, problems_of
from rl_jax.tasks.verifiers import sandbox
from rl_jax.tasks.verifiers.errors import CannotVerify

PROBLEMS = [
  {"question": "Write double(x).", "tests": ["assert double(2) == 4", "assert double(0) == 0"]},
  {"question": "Read a number and print its double.", "tests": [{"input": "3", "output": "6"}]},
]
code = "```python\n{}\n```".format


@pytest.fixture
def arguments(tmp_path):
  file = tmp_path / "problems.jsonl"
  file.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
  return {"file": str(file)}


def answer(arguments, problem, *actions):
  job = {"episode": 1, "problem": problem, "seed": 0, "actions": list(actions), "drop": []}
  return Host(CodeRepair, arguments).answer(job)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="namespaces of Linux")
def test_a_program_is_written_tested_and_mended(arguments):
  try:
    sandbox.isolation()
  except CannotVerify as error:
    pytest.skip(str(error))
  assert problems_of(CodeRepair, arguments) == PROBLEMS
  found = answer(
    arguments, PROBLEMS[0], "What?", code("def double(x):\n  return x + 2"), code("def double(x):\n  return 2 * x")
  )
  assert found["first"] == "Write double(x)."
  nothing, failed, mended = found["answers"]
  assert nothing == (NO_CODE, 0.0, False) and mended == ("", 1.0, True)
  assert failed[0].startswith("This test failed: assert double(0) == 0") and failed[1:] == (0.0, False)
  (wrong,) = answer(arguments, PROBLEMS[1], code("print(int(input()) + 1)"))["answers"]
  assert wrong[0] == 'This test gave a wrong output: {"input": "3", "output": "6"}\n4'


def test_what_is_no_problem_and_no_limit_is_one_line(arguments, tmp_path):
  assert "unknown limits ['minutes'] (known: seconds" in answer({**arguments, "limits": {"minutes": 1}}, {})["fatal"]
  (tmp_path / "problems.jsonl").write_text('{"question": "Why?"}\n')
  with pytest.raises(
    ValueError, match=r"problems raised ValueError: .*problems.jsonl, line 1: want a question and its"
  ):
    problems_of(CodeRepair, arguments)
