"""Antiderivatives of answers, checked by the derivative at random points. Imports no JAX."""

from __future__ import annotations

import ast
import cmath
import dataclasses
import math
import random
from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.tasks.datasets import formulas

POINTS, FEWEST_POINTS = 24, 8
"""Number of tried points, and of points at which both sides must have a value."""
TOLERANCE = 1e-8
"""Largest error relative to the integrand, or to 1 where that is smaller."""


@dataclasses.dataclass(frozen=True)
class _Dual:
  """A value and its derivative."""

  value: complex
  slope: complex

  def __add__(self, other: _Dual) -> _Dual:
    return _Dual(self.value + other.value, self.slope + other.slope)

  def __neg__(self) -> _Dual:
    return _Dual(-self.value, -self.slope)

  def __sub__(self, other: _Dual) -> _Dual:
    return self + -other

  def __mul__(self, other: _Dual) -> _Dual:
    return _Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

  def __truediv__(self, other: _Dual) -> _Dual:
    quotient = self.value / other.value
    return _Dual(quotient, (self.slope - quotient * other.slope) / other.value)

  def __pow__(self, other: _Dual) -> _Dual:
    value, power = self.value**other.value, other.value
    if other.slope:
      return _Dual(value, value * (other.slope * cmath.log(self.value) + power * self.slope / self.value))
    return _Dual(value, power * self.value ** (power - 1) * self.slope if power else 0.0)


def _applied(function: Callable[[complex], complex], derivative: Callable[[complex], complex]) -> Any:
  return lambda dual: _Dual(function(dual.value), derivative(dual.value) * dual.slope)


_LOGARITHM = _applied(cmath.log, lambda z: 1 / z)
_FUNCTIONS: dict[str, Callable[[_Dual], _Dual]] = {
  "exp": _applied(cmath.exp, cmath.exp),
  "log": _LOGARITHM,
  "ln": _LOGARITHM,
  "sqrt": _applied(cmath.sqrt, lambda z: 0.5 / cmath.sqrt(z)),
  "sin": _applied(cmath.sin, cmath.cos),
  "cos": _applied(cmath.cos, lambda z: -cmath.sin(z)),
  "tan": _applied(cmath.tan, lambda z: 1 / cmath.cos(z) ** 2),
  "sec": _applied(lambda z: 1 / cmath.cos(z), lambda z: cmath.tan(z) / cmath.cos(z)),
  "csc": _applied(lambda z: 1 / cmath.sin(z), lambda z: -cmath.cos(z) / cmath.sin(z) ** 2),
  "cot": _applied(lambda z: 1 / cmath.tan(z), lambda z: -1 / cmath.sin(z) ** 2),
  "asin": _applied(cmath.asin, lambda z: 1 / cmath.sqrt(1 - z * z)),
  "acos": _applied(cmath.acos, lambda z: -1 / cmath.sqrt(1 - z * z)),
  "atan": _applied(cmath.atan, lambda z: 1 / (1 + z * z)),
  "sinh": _applied(cmath.sinh, cmath.cosh),
  "cosh": _applied(cmath.cosh, cmath.sinh),
  "tanh": _applied(cmath.tanh, lambda z: 1 / cmath.cosh(z) ** 2),
  "asinh": _applied(cmath.asinh, lambda z: 1 / cmath.sqrt(1 + z * z)),
  "acosh": _applied(cmath.acosh, lambda z: 1 / (cmath.sqrt(z - 1) * cmath.sqrt(z + 1))),
  "atanh": _applied(cmath.atanh, lambda z: 1 / (1 - z * z)),
}


def is_antiderivative(text: str, integrand: str, variable: str) -> bool:
  """Return whether d `text` / d `variable` equals `integrand` at random points, seeded by the text.

  The letters C, c, K and k are constants. A point where either side has no finite value is left out.
  """
  points = random.Random(text)
  candidate, target = formulas.parse(text), formulas.parse(integrand)
  compared = 0
  for _ in range(POINTS):
    x = points.choice((-1, 1)) * points.uniform(0.1, 3.0)
    names = {letter: _Dual(points.uniform(1.0, 2.0), 0.0) for letter in "CcKk"}
    names |= {"E": _Dual(math.e, 0.0), "pi": _Dual(math.pi, 0.0), variable: _Dual(x, 1.0)}
    slope, value = _dual(candidate, names).slope, _dual(target, names).value
    if cmath.isfinite(slope) and cmath.isfinite(value):
      if abs(slope - value) > TOLERANCE * max(1.0, abs(value)):
        return False
      compared += 1
  return compared >= FEWEST_POINTS


def _dual(formula: ast.expr, names: Mapping[str, _Dual]) -> _Dual:
  """The value of a formula at a point; not a number where it has none."""
  try:
    return formulas.Reader(lambda number: _Dual(float(number), 0.0), names, _FUNCTIONS).value(formula)
  except formulas.NoFormula:
    raise
  except (ArithmeticError, ValueError):  # a pole, or beyond the largest float
    return _Dual(math.nan, math.nan)
