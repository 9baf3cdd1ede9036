"""Scoring of text: a response and what is known of its problem give a verdict. Imports no JAX: workers load this file.

A verifier is a function (response, entry, **arguments) -> Verdict, named by its dotted path, so that a worker process
can be told of it. A scorer runs one over many responses.
"""

from __future__ import annotations

import decimal
import functools
import importlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Verdict(NamedTuple):
  """What a verifier says of one response.

  Attributes:
    reward: None where there is no verdict, which differs from a score of 0.
    parts: named numbers that the reward is made of. Without a reward, one of `timed_out` (a deadline passed),
      `crashed` (the worker died) and `error` (the verifier raised) may be 1.
  """

  reward: float | None
  parts: Mapping[str, float] = {}


Scorer = Callable[[Sequence[tuple[str, dict[str, Any]]]], Sequence[Verdict]]
"""(response, entry) pairs -> their verdicts, in order. One that holds workers has close() and notes(), lines on what
went wrong since the last call."""

_NUMBER = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|[-+]?\.\d+")


def last_tag(response: str) -> str | None:
  """The text of the last <answer>…</answer>."""
  found = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
  return found[-1].strip() if found else None


def last_line(response: str) -> str | None:
  """The rest of the last line that begins with "Answer:"."""
  found = re.findall(r"^\s*answer:(.*)$", response, re.MULTILINE | re.IGNORECASE)
  return found[-1].strip() if found else None


def last_number(response: str) -> str | None:
  """The last number, without the commas of thousands."""
  found = _NUMBER.findall(response)
  return found[-1].replace(",", "") if found else None


ANSWERS: dict[str, Callable[[str], str | None]] = {
  "tag": last_tag,
  "line": last_line,
  "number": last_number,
  "whole": str.strip,
}
"""Rules by which an answer is taken from a response; None: there is no answer."""


def rule(name: str) -> Callable[[str], str | None]:
  """The rule called `name`; ValueError for one that is not known."""
  if name not in ANSWERS:
    raise ValueError(f"task.answer: got {name!r}, want one of {', '.join(ANSWERS)}")
  return ANSWERS[name]


def equal_numbers(response: str, entry: Mapping[str, Any], *, answer: str) -> Verdict:
  """1 where the answer of the response and `entry["answer"]` are the same number, or the same text, else 0.

  Args:
    answer: name of the rule in `ANSWERS`.
  """
  given, wanted = rule(answer)(response), str(entry["answer"])
  if given is None:
    return Verdict(0.0)
  numbers = _decimal(given), _decimal(wanted)
  same = numbers[0] == numbers[1] if None not in numbers else given.casefold() == wanted.strip().casefold()
  return Verdict(float(same))


def _decimal(text: str) -> decimal.Decimal | None:
  bare = text.strip().strip("$€£%.").replace(",", "").strip()
  if not _NUMBER.fullmatch(bare):
    return None
  return decimal.Decimal(bare)


def load(verifier: str) -> Callable[..., Verdict]:
  """The function that 'package.module:name' names.

  Raises: ValueError: there is none.
  """
  path, _, name = verifier.partition(":")
  try:
    return getattr(importlib.import_module(path), name)
  except ValueError as error:  # an empty path
    raise ValueError(f"task.verifier: got {verifier!r}, want 'package.module:function'") from error
  except ModuleNotFoundError as error:
    raise ValueError(f"task.verifier: cannot import {path!r} ({error})") from error
  except AttributeError as error:
    raise ValueError(f"task.verifier: there is no {name!r} in {path}") from error


class InProcess:
  """A scorer that runs its verifier here, one response after the other and without a deadline.

  Args:
    verifier: 'package.module:function'.
    arguments: keyword arguments of it.
  """

  def __init__(self, verifier: str, arguments: Mapping[str, Any]):
    self._verify = functools.partial(load(verifier), **arguments)

  def __call__(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Verdict]:
    return [self._verify(response, entry) for response, entry in items]
