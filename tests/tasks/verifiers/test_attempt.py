"""One call of a verifier, whatever it does."""

from __future__ import annotations

import pytest

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.attempt import Attempt, attempt
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.in_process import InProcess


def saying(verdict):
  def verify(response, entry):
    if isinstance(verdict, BaseException):
      raise verdict
    return verdict

  return verify


@pytest.mark.parametrize(
  ("verdict", "found"),
  [
    (Verdict(0.5, {"length": 3}), Attempt(0.5, {"length": 3.0})),
    (Verdict(None), Attempt()),
    (MemoryError(), Attempt(exhausted=True)),
    (RecursionError("deep"), Attempt(exhausted=True)),
    (KeyError("x"), Attempt(error="KeyError: 'x'")),
    (CannotVerify("lacks a thing"), Attempt(error="lacks a thing", fatal=True)),
    (Verdict(float("inf")), Attempt(error="ValueError: the reward is inf, want a number of at most 1e+19 either way")),
    (Verdict(-1e39), Attempt(error="ValueError: the reward is -1e+39, want a number of at most 1e+19 either way")),
    (Verdict(1.0, {"n": float("nan")}),
     Attempt(error="ValueError: part 'n' is nan, want a number of at most 1e+19 either way")),
  ],
)  # fmt: skip
def test_what_comes_of_a_call(verdict, found):
  assert attempt(saying(verdict), "", {}, {}) == found


def test_in_this_process_an_error_is_noted_and_exhaustion_has_failed():
  score = InProcess("tests.tasks.verifiers.hostile:obey", {"right": 1.0})
  verdicts = score([(word, {"answer": "yes"}) for word in ("yes", "raise", "deep", "nan")])
  assert [v.reward for v in verdicts] == [1.0, None, 0.0, None]
  assert score.notes() == [
    "tests.tasks.verifiers.hostile:obey has raised 2 times, last: ValueError: the reward is nan, want a number of at "
    "most 1e+19 either way"
  ]
  assert score.notes() == []
  with pytest.raises(CannotVerify, match="lacks a thing"):
    score([("cannot", {})])
