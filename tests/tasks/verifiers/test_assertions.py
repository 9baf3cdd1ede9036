"""Assertion tests are split into what the program says and what is judged outside."""

from __future__ import annotations

import pytest

from rl_jax.tasks.verifiers import assertions
from rl_jax.tasks.verifiers.assertions import split

OUTSIDE = {
  "assert f(1) == 2": [("value", "f(1)")],
  "assert 2 == f(1)": [("value", "f(1)")],
  "assert f(1) == [1, (2, {3}), {'a': None}]": [("value", "f(1)")],
  "assert f(1) == -2.5, 'message'": [("value", "f(1)")],
  "assert f(1)": [("value", "f(1)")],
  "assert not f(1)": [("value", "f(1)")],
  "assert f(1) is None and f(2) is not True": [("value", "f(1)"), ("value", "f(2)")],
  "assert f(1) in (1, 2) and 0 < f(2) <= 9": [("value", "f(1)"), ("value", "f(2)")],
  "assert f(1) + f(2) == 5": [("value", "f(1) + f(2)")],
  "x = f(5)\nassert x == 3": [("run", "x = f(5)"), ("value", "x")],
  "assert abs(f(1)) == 5": [("value", "abs(f(1))")],
  "assert f(1) == 10 ** 9 + 7": [("value", "f(1)")],
  "s = Stack()\ns.push(1)\nassert s.pop() == 1": [("run", "s = Stack()"), ("run", "s.push(1)"), ("value", "s.pop()")],
  "MOD = 7\nassert f(10) == 3": [("run", "MOD = 7"), ("value", "f(10)")],
  "assert abs(f(1) - 0.3) < 1e-6": [("value", "f(1)")],
  "assert math.isclose(f(1), 0.3, rel_tol=0.001)": [("value", "f(1)")],
  "assert set(f(1)) == set([1, 2])": [("value", "set(f(1))")],
  "assert sorted(f(1), key=len)[0].lower() == 'a'": [("value", "sorted(f(1), key=len)[0].lower()")],
  "assert (f(1), f(2)) == (1, 2)": [("value", "f(1)"), ("value", "f(2)")],
  "assert all([f(1) == 1, f(2) == 2])": [("value", "f(1)"), ("value", "f(2)")],
  "assert f(1) == 1\nassert f(2) == 2": [("value", "f(1)"), ("value", "f(2)")],
  "want = [1, 2]\nassert f(1) == want": [("value", "f(1)")],
  "x = [3, 1]\nf(x)\nassert x == [1, 3]": [("run", "x = [3, 1]"), ("run", "f(x)"), ("value", "x")],
  "import math\nassert f(1) == 2": [("run", "import math"), ("value", "f(1)")],
  "def check(candidate):\n  assert candidate(1) == 2\ncheck(f)": [("run", "candidate = f"), ("value", "candidate(1)")],
  "M = {'a': 1}\ndef check(g):\n  '''d'''\n  assert g(1) == 2\ncheck(f)": [
    ("run", "M = {'a': 1}"), ("run", "g = f"), ("run", "'d'"), ("value", "g(1)"),
  ],
}  # fmt: skip
INSIDE = (
  "f(1)", "for i in range(3):\n  assert f(i) == i", "try:\n  f(0)\n  assert False\nexcept ValueError:\n  pass",
  "def ok(x):\n  return x == 3\nassert ok(f(1))", "assert sorted([2, 1]) == [1, 2]", "assert True", "assert f(",
  "def check(candidate):\n  for i in range(3):\n    assert candidate(i) == i\ncheck(f)", "assert f(1) is f(2)[0]",
  # What is expected stands in what the program would report on.
  "assert f(3) - 4 == 0",
  "assert f(1) + 3 == 5",
  "assert {4: True}[f(3)] == True",
  "assert [3].index(f(1)) == 0",
  "assert f(3).__eq__(4) == True",
  "ok = f(3) == 4\nassert ok == True",
  "ok = True\nfor a in [1, 2]:\n  ok = ok and f(a) == a\nassert ok == True",
  "n = 0\nfor a in [1, 2]:\n  if f(a) == a:\n    n += 1\nassert n == 2",
  "import math\nfloor = math.floor\nassert floor(f(1)) == 3",
  # What is expected would have to be worked out in the program's interpreter.
  "assert f(1) != f(2)",
  "assert all(f(a) == b for a, b in [(1, 1), (2, 4)])",
  "assert f(5) == [i * i for i in range(5)]",
  "data = [2, 1]\nassert f(data) == sorted(data)",
  "x = 5\ny = x * 2\nassert f(x) == y",
  "assert f(5) == math.factorial(5)",
  "import math\nassert abs(f(1) - math.pi) < 1e-9",
  "from math import isclose\nassert isclose(f(2), 1.414)",
  "expected = {'a': 1}\nassert f() == expected['a']",
  "assert f() == date(2020, 1, 2)",
  "assert f() == Counter('aab')",
  "assert f() == 'a,b'.split(',')",
  "assert f(1) == f'{1}'",
  "assert bool(f(3) == 4)",
  "assert (f(3) == 4) == True",
  "assert isinstance(f(2), int)",
  "near = lambda a, b: abs(a - b) < 1e-6\nassert near(f(1), 2)",
  "def near(a, b):\n  return a == b\nassert near(f(1), 2) == True",
  "import unittest\nr = unittest.main()\nassert r.ok()",
  "assert f(1) == 'n=%d' % 3",
  "assert q.pop() == 1 or q.pop() == 2",
  "assert 3 in s",
  "assert V(1, 2) + V(3, 4) == V(4, 6)",
)  # fmt: skip


@pytest.mark.parametrize("test", OUTSIDE)
def test_what_is_expected_stays_outside(test):
  parts = split(test)
  assert (list(parts.steps), parts.inside) == (OUTSIDE[test], False)


@pytest.mark.parametrize("test", INSIDE)
def test_other_shapes_run_inside(test):
  assert split(test).inside and any(kind == "prove" for kind, _ in split(test).steps)


def frames(*values):
  return [{"ready": True}, *({"value": value} for value in values)]


def integers(*numbers):
  return [{"int": f"{number:x}"} for number in numbers]


@pytest.mark.parametrize(
  ("test", "values", "passes"),
  [
    ("assert f(1) == 2", integers(2), True),
    ("assert f(1) == 2", integers(3), False),
    ("assert f(1) == -31", integers(-31), True),
    ("assert f(1) == 2", [{"float": (2.0).hex()}], True),
    ("assert f(1) == 2", [{"object": [b"4".hex(), True]}], False),
    ("assert f(1) != 2", [{"object": [b"4".hex(), True]}], True),
    ("assert f(1)", [{"object": [b"4".hex(), False]}], False),
    ("assert f(1) == (1, 2)", [{"tuple": integers(1, 2)}], True),
    ("assert f(1) == (1, 2)", [integers(1, 2)], False),
    ("assert f(1) == {1, 2}", [{"set": integers(2, 1)}], True),
    ("assert f(1) == {'a': 1}", [{"dict": [[{"text": b"a".hex()}, *integers(1)]]}], True),
    ("assert f(1) == range(3)", [{"range": integers(0, 3, 1)}], True),
    ("assert f(1) == 0.5", [{"number": b"1/2".hex()}], True),
    ("assert f(1) == float('inf')", [{"float": "inf"}], True),
    ("assert f(1) is True", [True], True),
    ("assert f(1) is True", integers(1), False),
    ("assert f(1) == 1 and f(2) == 3", integers(1, 9), False),
    ("assert 1 < f(1) < 3 and abs(f(2) - 0.5) < 1e-3", [*integers(2), {"float": "0x1.001p-1"}], True),
    ("assert f(1) < 3", [None], False),
    ("assert f(1) == 10 ** 10 ** 10", integers(1), False),
    ("assert f(1) == [1] * 10 ** 9", integers(1), False),
    ("assert f(1) == {frozenset([1])}", [{"set": [{"set": integers(1)}]}], True),
    ("assert f(1) == 1", [{"number": b"1E999999999".hex()}], False),
    ("assert f(1) == 1", [{"int": "zz"}], False),
    ("assert f(1) == 1", [{"set": [[]]}], False),
    ("assert f(1) == 1", [{"int": "1", "float": "1"}], False),
    ("assert f(1) == 1", [{"unknown": 1}], False),
    ("assert f(1) == 1\nassert f(2) == 2", integers(1), False),
  ],
)
def test_conditions_on_reported_values(test, values, passes):
  problem = assertions.failure(split(test), frames(*values), proven=False)
  assert (problem == "") == passes, problem


def test_a_value_that_raised_counts_only_where_it_is_read():
  parts = split("assert f(1) == 1 and f(2) == 2")
  reports = [{"value": {"int": "3"}}, {"raised": True}]
  assert "AssertionError" in assertions.failure(parts, reports, False)
  assert "an exception" in assertions.failure(parts, reports[::-1], False)


def test_what_ran_inside_needs_its_proof():
  parts = split("for i in range(3):\n  assert f(i) == i")
  assert assertions.failure(parts, [{"proof": "x"}], proven=True) == ""
  assert assertions.failure(parts, [{"proof": "x"}], proven=False) != ""
  assert assertions.failure(parts, [{"raised": True}], proven=True) != ""


def test_the_message_shows_what_came():
  line = assertions.failure(split("assert f(1) == 2"), frames(*integers(3)), False)
  assert line == "AssertionError: assert f(1) == 2; f(1) is 3"
