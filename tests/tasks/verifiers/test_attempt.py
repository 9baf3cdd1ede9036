"""One call of a verifier, whatever it does."""

from __future__ import annotations

import csv
import re
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest

from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.attempt import Attempt, Tally, attempt
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.tasks.verifiers.in_process import InProcess
from tests.tasks.verifiers import hostile

HERE = "tests/tasks/verifiers/test_attempt.py"
"""Where these verifiers are defined; lines on what they do end with it."""


class Odd(Exception):
  """An exception without a text."""

  def __str__(self):
    raise KeyError("no text")


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
    (re.error("bad", "(", 0), Attempt(error="error: bad at position 0")),
    (Exception("of its own\n kind"), Attempt(error="Exception: of its own kind")),
    (StopIteration(), Attempt(error="StopIteration")),
    (struct.error("s"), Attempt(error="error: s")),
    (zlib.error("z"), Attempt(error="error: z")),
    (csv.Error("c"), Attempt(error="Error: c")),
    (EOFError(), Attempt(error="EOFError")),
    (Odd(), Attempt(error="Odd: an exception without a text")),
    (Verdict(None, {}, "the server\nis away"), Attempt(reason="the server is away")),
    (0.25, Attempt(0.25)),
    (True, Attempt(1.0)),
    (2, Attempt(2.0)),
    (np.float32(0.5), Attempt(0.5)),
    (np.bool_(True), Attempt(1.0)),
    (None, Attempt(error="TypeError: the verifier gave 'None' (NoneType), want a number or a Verdict")),
    ("1.0", Attempt(error="TypeError: the verifier gave '1.0' (str), want a number or a Verdict")),
    ({"reward": 1}, Attempt(error='TypeError: the verifier gave "{\'reward\': 1}" (dict), want a number or a Verdict')),
    (Verdict("1.0"), Attempt(error="TypeError: the reward is '1.0' (str), want a number")),
    (float("nan"), Attempt(error="ValueError: the reward is nan, want a number from -1e+19 to 1e+19")),
    (CannotVerify("lacks a thing"), Attempt(error="lacks a thing", fatal=True)),
    (Verdict(float("inf")), Attempt(error="ValueError: the reward is inf, want a number from -1e+19 to 1e+19")),
    (Verdict(-1e39), Attempt(error="ValueError: the reward is -1e+39, want a number from -1e+19 to 1e+19")),
    (Verdict(1.0, {"n": float("nan")}),
     Attempt(error="ValueError: part 'n' is nan, want a number from -1e+19 to 1e+19")),
  ],
)  # fmt: skip
def test_what_comes_of_a_call(verdict, found):
  made = attempt(saying(verdict), "", {}, {})
  assert made._replace(error=re.sub(rf" \({HERE}, line \d+\)$", "", made.error)) == found
  assert (HERE in made.error) == bool(made.error and not made.fatal)


@pytest.mark.parametrize("end", [SystemExit(0), KeyboardInterrupt()])
def test_what_ends_a_process_is_no_error_of_the_verifier(end):
  with pytest.raises(type(end)):
    attempt(saying(end), "", {}, {})


FORKING = """
import os
from rl_jax.tasks.verifiers.attempt import attempt
print(attempt(lambda response, entry: float(os.fork() > 0), "", {}, {}).reward)
"""


def test_a_copy_that_a_verifier_makes_of_its_process_gives_no_verdict():
  ended = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, check=True)
  assert ended.stdout == "1.0\n", ended.stderr


def test_a_tally_says_what_has_come_of_responses_since_the_last_time():
  tally = Tally("v")
  assert tally.notes() == []
  tally.judged(Verdict(0.0, {"timed_out": 1.0}))
  tally.judged(Verdict(None, {"crashed": 1.0}))
  tally.judged(Verdict(1.0, {}, "it has a reward all the same"))
  assert tally.notes() == ["v: 1 responses have timed out and 1 have crashed"] and tally.notes() == []
  tally.raised("KeyError: 'a'")
  tally.judged(Verdict(None, {}, "away"))
  assert tally.notes() == ["v has raised 1 times, last: KeyError: 'a'", "v has given no reward 1 times, last: away"]


def test_in_this_process_an_error_is_noted_and_exhaustion_has_failed():
  score = InProcess("tests.tasks.verifiers.hostile:obey", {"right": 1.0})
  verdicts = score([(word, {"answer": "yes"}) for word in ("yes", "raise", "deep", "nan")])
  assert [v.reward for v in verdicts] == [1.0, None, 0.0, None]
  assert score.notes() == [
    "tests.tasks.verifiers.hostile:obey has raised 2 times, last: ValueError: the reward is nan, want a number from "
    f"-1e+19 to 1e+19 (tests/tasks/verifiers/hostile.py, line {hostile.obey.__code__.co_firstlineno})",
    "tests.tasks.verifiers.hostile:obey: 0 responses have timed out and 1 have crashed",
  ]
  assert score.notes() == []
  with pytest.raises(CannotVerify, match="lacks a thing"):
    score([("cannot", {})])
