"""Mathematical answers: the final one of a response is found and compared exactly or, failing that, by math-verify.

math-verify's own time limits are switched off, as they use signals: SymPy may compute without end, so this runs in a
pool with a deadline.
"""

from __future__ import annotations

import fractions
import logging
import re
from collections.abc import Mapping
from typing import Any

import math_verify

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict

LONGEST_NUMBER = 100
_BOX = re.compile(r"\\f?boxed\s*\{")
# A dollar sign before a blank does not close a formula, nor one before a digit: "$5 and $7" are prices.
_FORMULA = re.compile(r"\$\$(.+?)\$\$|\$(?!\s)([^$\n]*[^$\s])\$(?!\d)|\\\[(.+?)\\\]|\\\((.+?)\\\)", re.DOTALL)
_THOUSANDS = re.compile(r"([-+]?)(\d{1,3}(?:(?:\{,\}|,)\d{3})+)(\.\d+)?")
_RATIO = re.compile(r"(-?)\\frac\{?(\d+)\}?\{?(\d+)\}?")
_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)(?:/\d+)?")
# They warn, once in each process, that the time limits are off.
logging.getLogger("math_verify").setLevel(logging.CRITICAL)


def final_answer(response: str) -> str | None:
  r"""The last \boxed{…}; without one what follows the last "Answer:", else the last formula, else the last number.

  None: the response has none of them.
  """
  for match in reversed(list(_BOX.finditer(response))):
    box = _braced(response, match.end())
    if box is not None:
      return box
  line = scoring.last_line(response)
  formulas = [next(filter(None, groups)) for groups in _FORMULA.findall(line or response)]
  return formulas[-1].strip() if formulas else line or scoring.last_number(response)


def _braced(text: str, start: int) -> str | None:
  """What stands from `start` to the brace that closes; None: none does."""
  depth = 1
  for at in range(start, len(text)):
    depth += {"{": 1, "}": -1}.get(text[at], 0)
    if depth == 0:
      return text[start:at].strip()
  return None


def equal_answers(response: str, entry: Mapping[str, Any], *, answer: str = "whole") -> Verdict:
  """1 where the final answer of the response and that of `entry["answer"]` are equal as mathematics, else 0.

  Args:
    answer: name of the rule in `scoring.ANSWERS` that finds the answer; "whole" stands for `final_answer`.
  """
  text = scoring.rule(answer)(response) or ""
  given = final_answer(text) if answer == "whole" else _unboxed(text)
  return Verdict(float(equal(given, _unboxed(str(entry["answer"])))) if given else 0.0)


def _unboxed(text: str) -> str:
  """The answer in a text that is nothing but an answer, perhaps in a box."""
  return (final_answer(text) or text) if _BOX.search(text) else text


def equal(given: str, wanted: str) -> bool:
  """Whether two answers are the same text, number or mathematical object. May take for ever: see the module."""
  given, wanted = _bare(given), _bare(wanted)
  if given == wanted:
    return True
  numbers = _rational(given), _rational(wanted)
  if numbers[0] is not None and numbers[1] is not None and (numbers[0] == numbers[1] or _whole(*numbers)):
    return numbers[0] == numbers[1]
  parse = lambda text: math_verify.parse(f"${text}$", parsing_timeout=None)
  return math_verify.verify(parse(wanted), parse(given), timeout_seconds=None)


def _whole(*numbers: fractions.Fraction | None) -> bool:
  return all(number is not None and number.denominator == 1 for number in numbers)


def _bare(text: str) -> str:
  """An answer without what does not change it: dollar signs, sizes of brackets, spaces, commas of thousands."""
  text = text.strip().removesuffix(".").strip("$").removesuffix(".").strip()
  text = re.sub(r"\\left|\\right|\\[,;!: ]", "", text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac"))
  if _THOUSANDS.fullmatch(text):
    text = re.sub(r"\{,\}|,", "", text)
  return " ".join(text.split())


def _rational(text: str) -> fractions.Fraction | None:
  """The number that the text is, exactly; None if it is none, or a very long one."""
  text = _RATIO.sub(r"\1\2/\3", text).replace(" ", "")
  if len(text) > LONGEST_NUMBER or not _NUMBER.fullmatch(text) or ("/" in text and "." in text):
    return None
  if "/" in text and not int(text.rpartition("/")[2]):
    return None
  return fractions.Fraction(text)
