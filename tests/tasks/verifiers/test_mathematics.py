"""The final answer of a response, and answers compared as mathematics."""

from __future__ import annotations

import time

import pytest

from rl_jax.tasks.verifiers import mathematics
from rl_jax.tasks.verifiers.mathematics import equal, equal_answers, final_answer
from rl_jax.tasks.verifiers.pool import Pool


@pytest.mark.parametrize(
  ("response", "answer"),
  [
    (r"first \boxed{1}, so \boxed{\frac{1}{2}} and $3$", r"\frac{1}{2}"),
    (r"\boxed{4} but \boxed{5", "4"),
    (r"\boxed {\text{a {b} c}}", r"\text{a {b} c}"),
    ("Answer: 7\nAnswer: it is $x + 1$.", "x + 1"),
    ("Answer: x + 1\n12", "x + 1"),
    ("$a$ and then $b + c$ for 3", "b + c"),
    (r"\[ 3 + 4 \]", "3 + 4"),
    ("it costs $5 and $7, 1,200 in all", "1200"),
    ("nothing", None),
    ("", None),
  ],
)
def test_the_final_answer(response, answer):
  assert final_answer(response) == answer


SAME = [
  ("42", "42.0"), ("1,234", "1234"), ("1{,}000", "1000"), (r"\dfrac{1}{2}", "0.5"), (r"-\frac34", "-3/4"),
  ("$7$.", "7"), ("x + 1", "1+x"), (r"\sqrt{8}", r"2\sqrt{2}"), (r"\{1, 2\}", r"\{2, 1\}"), ("x = 5", "5"),
  (r"\left( 1, 2 \right)", "(1,2)"), (r"\text{yes}", "yes"),
]  # fmt: skip
DIFFERENT = [
  ("42", "43"), ("12345678901234567890", "12345678901234567891"), ("1/3", "1/4"), ("x + 1", "x - 1"),
  ("[1, 2)", "[1, 2]"), ("(1,234)", "(1234)"), ("yes", "no"), ("", "3"), ("a}", "b"), ("1/0", "1"), ("9" * 5000, "1"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "wanted"), SAME)
def test_equal(given, wanted):
  assert equal(given, wanted) and equal(wanted, given)


@pytest.mark.parametrize(("given", "wanted"), DIFFERENT)
def test_different(given, wanted):
  assert not equal(given, wanted)


def test_plain_numbers_do_not_cost_a_computer_algebra_system(monkeypatch):
  monkeypatch.setattr(mathematics, "math_verify", None)
  assert equal("1,000.50", "2001/2") and not equal("17", "18")


@pytest.mark.parametrize(
  ("response", "rule", "reward"),
  [
    (r"so \boxed{1/2}", "whole", 1.0),
    ("<answer>0.50</answer> not 3", "tag", 1.0),
    ("<answer>2/4 + x - x</answer>", "tag", 1.0),
    ("it is 0.5", "number", 1.0),
    ("it is half", "whole", 0.0),
    ("no tag", "tag", 0.0),
  ],
)
def test_the_verdict(response, rule, reward):
  assert equal_answers(response, {"answer": r"\boxed{\frac{1}{2}}"}, answer=rule).reward == reward


def test_an_answer_that_sympy_never_ends_is_unscored():
  scorer = Pool("rl_jax.tasks.verifiers.mathematics:equal_answers", {}, workers=2, seconds=3.0)
  entry, started = {"answer": "5"}, time.monotonic()
  responses = [r"\boxed{9^{9^{9^{9}}}}", r"\boxed{4+1}", r"\boxed{1000000!!}", r"\boxed{5}", r"\boxed{6}"]
  assert [v.reward for v in scorer([(r, entry) for r in responses])] == [None, 1.0, None, 1.0, 0.0]
  assert (scorer.timeouts, scorer.crashes, scorer.errors) == (2, 0, 0)
  assert time.monotonic() - started < 30
  scorer.close()
