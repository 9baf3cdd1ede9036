"""Programs that try to be paid without being right; the table of all of them is a command of `hostile_programs`."""

from __future__ import annotations

import os

import pytest

from rl_jax.tasks.verifiers.programs import unit_tests
from tests.tasks.verifiers.hostile_programs import GROUPS, LIMITS, RIGHT, fenced, reward

pytestmark = pytest.mark.skipif(os.uname().sysname != "Linux", reason="the sandbox is made of Linux namespaces")


def check(name, attempts):
  paid = {program: given for program in attempts if (given := reward(program, GROUPS[name])) != 0.0}
  assert paid == {}
  assert reward(GROUPS[name].right, GROUPS[name]) == 1.0


@pytest.mark.parametrize("name", ["forged assertions", "forged outputs"])
def test_no_verdict_is_forged(name):
  check(name, GROUPS[name].attempts)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(GROUPS)[2:])
def test_no_attempt_is_paid_or_unscored(name):
  check(name, GROUPS[name].attempts)


def test_what_runs_inside_is_counted():
  test = "for i in range(3):\n  assert add(i, i) == 2 * i"
  verdict = unit_tests(fenced(RIGHT), {"tests": [test, "assert add(1, 1) == 2"]}, limits=LIMITS)
  assert (verdict.reward, verdict.parts["tests_inside"]) == (1.0, 1.0)
