"""Replacements for scorers of reasoning-gym that execute the answer or pay for a constant. Imports no JAX.

Each takes an answer that is not blank and its entry, and returns a reward from 0 to 1. An answer that cannot be read
raises ValueError, SyntaxError, ArithmeticError or RecursionError. A wrong answer earns the same as in reasoning-gym
where the docstring says nothing else.
"""

from __future__ import annotations

import json
import os.path
import re
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from rl_jax.tasks.datasets import derivatives, polynomials
from rl_jax.tasks.tools import calculator

COIN_TOLERANCE = 1e-4
_ARITHMETIC = re.compile(r"(?:[\d\s()+-]|\*(?!\*)|/(?!/))+", re.ASCII)
_FRACTION = re.compile(r"[-+\d./\s]{1,200}(?:[eE][-+]?\d{1,2})?", re.ASCII)


def bitwise_arithmetic(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for the number, in base 10 or with the prefix of another base."""
  return float(int(answer, 0) == int(entry["answer"], 0))


def coin_flip(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for the probability as a decimal or a fraction, else the share of its digits up to the first wrong one.

  The share is of the longer number. In reasoning-gym it is of the shorter one, so that "0" is right for every
  probability below 1.
  """
  text = answer.replace(",", "").strip()
  if not _FRACTION.fullmatch(text):
    raise ValueError(f"no fraction: {text[:80]!r}")
  probability, target = float(Fraction(text)), float(Fraction(entry["answer"]))
  if abs(probability - target) <= COIN_TOLERANCE:
    return 1.0
  digits = [f"{number:.10g}" for number in (probability, target)]
  return len(os.path.commonprefix(digits)) / max(map(len, digits))


def countdown(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for a formula of all the given numbers whose value is the target, 0.05 for another formula."""
  return _made_of(answer, entry["metadata"]["numbers"], entry["metadata"]["target"], wrong=0.05)


def puzzle24(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for a formula of all the given numbers whose value is 24, 0.01 for another formula.

  In reasoning-gym any four numbers are right.
  """
  return _made_of(answer, entry["metadata"]["numbers"], 24, wrong=0.01)


def _made_of(answer: str, numbers: list[int], target: int, *, wrong: float) -> float:
  if not _ARITHMETIC.fullmatch(answer):
    raise ValueError(f"no formula of + - * / and whole numbers: {answer[:80]!r}")
  is_right = calculator.value(answer) == target and sorted(map(int, re.findall(r"\d+", answer))) == sorted(numbers)
  return 1.0 if is_right else wrong


def game_of_life(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for the board, less one wrong cell in the number of living ones for each wrong cell, and at least 0.

  In reasoning-gym it is the share of right cells, most of which are dead on any board.
  """
  board, target = json.loads(answer), json.loads(entry["answer"])
  pairs = [(a, b) for rows in zip(board, target, strict=True) for a, b in zip(*rows, strict=True)]
  wrong, alive = sum(a != b for a, b in pairs), sum(b for _, b in pairs)
  return max(0.0, 1.0 - wrong / max(1, alive))


def game_of_life_halting(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for the right one of "True" and "False". In reasoning-gym any text is right."""
  return float(answer.strip().casefold() == str(entry["answer"]).casefold())


def integration(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for a function whose derivative is the integrand, or for the reference answer, which may be an `Integral`."""
  if answer.strip() == entry["answer"]:
    return 1.0
  return float(derivatives.is_antiderivative(answer, entry["metadata"]["integrand"], entry["metadata"]["variable"]))


def polynomial_multiplication(answer: str, entry: Mapping[str, Any]) -> float:
  """1 for the product as a sum of terms, in any order."""
  if answer.strip() == entry["answer"]:
    return 1.0
  variables = tuple(entry["metadata"]["variables"])
  product, target = (polynomials.expanded_polynomial(text, variables) for text in (answer, entry["answer"]))
  return float(product == target)


SCORERS: Mapping[str, Callable[[str, Mapping[str, Any]], float]] = {
  "bitwise_arithmetic": bitwise_arithmetic,
  "coin_flip": coin_flip,
  "countdown": countdown,
  "game_of_life": game_of_life,
  "game_of_life_halting": game_of_life_halting,
  "intermediate_integration": integration,
  "polynomial_multiplication": polynomial_multiplication,
  "puzzle24": puzzle24,
  "simple_integration": integration,
}
"""Data set -> its scorer."""
