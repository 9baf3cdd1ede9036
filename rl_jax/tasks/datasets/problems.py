"""Text problems, and their split into train and held out.

The split of a problem is a hash of its question alone (not of its place, its level, the seed or other problems), so a
question is in the same split in every data set and mixture. The hash ignores white space and case. For a conversation
it covers the contents of all messages.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

from rl_jax.tasks import messages


class Problem(NamedTuple):
  """One problem.

  Attributes:
    question: text for the policy, or a conversation in the form of `messages.dumps`.
    level: name of the data set or difficulty level.
    entry: data for the verifier, with "question", and with "answer" unless tests judge it.
  """

  question: str
  level: str
  entry: dict[str, Any]


class SplitProblems(NamedTuple):
  """Problems of two splits that share no question.

  Attributes:
    repeated: number of problems left out because their question occurred before.
  """

  train: list[Problem]
  held_out: list[Problem]
  repeated: int


def words_of(question: str) -> str:
  """Question normalised in white space and case, which defines equality of questions for the split."""
  return " ".join(messages.text(question).casefold().split())


def hash_share(question: str) -> float:
  """A number in [0, 1), the hash of the question's words."""
  return int.from_bytes(hashlib.sha256(words_of(question).encode()).digest()[:6], "big") / 2**48


def divide(problems: Iterable[Problem], held_out_fraction: float) -> SplitProblems:
  """Split problems by the hash of their question; of equal questions the first stays.

  Raises: ValueError: a split has no problem.
  """
  problem_list = list(problems)
  different = _different(problem_list)
  held_out = [problem for problem in different if hash_share(problem.question) < held_out_fraction]
  train = [problem for problem in different if hash_share(problem.question) >= held_out_fraction]
  return _checked(
    SplitProblems(train, held_out, len(problem_list) - len(different)),
    f"of {len(different)} different questions none falls to it at held_out_fraction={held_out_fraction:g}; "
    "give more problems or another fraction",
  )


def separate(train: Iterable[Problem], held_out: Iterable[Problem]) -> SplitProblems:
  """Splits that the data came with; held-out problems are removed from train.

  Raises: ValueError: a split has no problem.
  """
  train_problems, held_out_problems = list(train), list(held_out)
  different = _different(held_out_problems)
  held_out_words = {words_of(problem.question) for problem in different}
  apart = _different([problem for problem in train_problems if words_of(problem.question) not in held_out_words])
  repeated = len(train_problems) + len(held_out_problems) - len(apart) - len(different)
  advice = "all of its questions are held-out ones too" if train_problems and different else "its source has no row"
  return _checked(SplitProblems(apart, different, repeated), advice)


def _different(problems: list[Problem]) -> list[Problem]:
  first: dict[str, Problem] = {}
  for problem in problems:
    first.setdefault(problem.question, problem)
  return list(first.values())


def _checked(divided: SplitProblems, advice: str) -> SplitProblems:
  for split in ("train", "held_out"):
    if not getattr(divided, split):
      raise ValueError(f"split {split} has no problem: {advice}")
  return divided
