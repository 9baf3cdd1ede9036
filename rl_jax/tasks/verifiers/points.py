"""Formulas compared by their values at random points, to fifty digits.

Formulas that differ at one point are different; those that agree at all points are almost surely equal. Symbols take
values of both signs, so that sqrt(x^2) is not x. Huge numbers are not evaluated, so no formula takes long.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import mpmath

from rl_jax.tasks.answers.trees import Node, rational, symbols, walk

DIGITS = 50
AGREEMENT = 1e-30
"""Relative difference of values that are taken as equal."""
CANCELLED = 1e-38
"""Share of its largest term below which a sum is 0."""
POINTS = 6
STEPPED_POINTS = 32
"""Number of points for formulas with steps, which may agree at most points; includes all small whole numbers."""
FEWEST_POINTS = 2
"""Fewest points at which two formulas with symbols must both have values."""
LARGEST_EXPONENT = 10**5
"""Largest exponent of e in the value of a power."""
LARGEST_FACTORIAL = 10**5
LARGEST_ANGLE = 10**12

_mp = mpmath.MPContext()
_mp.dps = DIGITS
_WHOLE = frozenset("nmkNMKj")
"""Symbols that are whole numbers where there are steps."""
_STEPPED = ("floor", "ceiling", "factorial", "double factorial", "binomial")
_OVER = {"tan": "cos", "sec": "cos", "cot": "sin", "csc": "sin"}
"""Denominators of the functions with poles."""
_CALLS = {
  **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth", "sech", "csch")},
  **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
  "arsinh": "asinh",
  "ln": "log",
}


def has_values(tree: Node) -> bool:
  """Return whether a formula can be evaluated at points: it has no sum, integral, limit or the like."""
  return all(node.op != "operator" for node in walk(tree))


def same(a: Node, b: Node) -> bool:
  """Return whether two formulas that have values are equal."""
  return any(_agree(a, b, base) for base in _bases(a, b))


def near(tree: Node, value: Fraction, tolerance: Fraction) -> bool:
  """Return whether a formula without symbols is a number, within a relative tolerance."""
  sample = _samples(tree, False, 10)[0]
  target = _mp.mpf(value.numerator) / value.denominator
  return sample is not None and abs(sample - target) <= abs(target) * tolerance.numerator / tolerance.denominator


def proportional(a: Node, b: Node) -> bool:
  """Return whether one formula is a number other than 0 times the other."""
  stepped = _is_stepped(a) or _is_stepped(b)
  pairs = [*zip(_samples(a, stepped, 10), _samples(b, stepped, 10), strict=True)]
  defined = [(x, y) for x, y in pairs if x and y]
  return len(defined) == len(pairs) and all(_close(x * defined[0][1], y * defined[0][0]) for x, y in defined)


def _bases(a: Node, b: Node) -> Sequence[float]:
  """Bases that a logarithm without one may have: 10 or e."""
  plain = any(node.op == "call" and node.value == "log" and len(node.args) == 1 for t in (a, b) for node in walk(t))
  return (10, 0) if plain else (10,)


def _agree(a: Node, b: Node, base: float) -> bool:
  stepped = _is_stepped(a) or _is_stepped(b)
  pairs = [*zip(_samples(a, stepped, base), _samples(b, stepped, base), strict=True)]
  defined = [(x, y) for x, y in pairs if x is not None and y is not None]
  # With steps one side alone may have a value: a binomial where its factorials have none.
  unlike = not stepped and any((x is None) != (y is None) for x, y in pairs)
  if unlike or not all(_close(x, y) for x, y in defined):
    return False
  return len(defined) >= (FEWEST_POINTS if symbols(a) | symbols(b) else 1)


def _close(x: Any, y: Any) -> bool:
  return abs(x - y) <= AGREEMENT * max(abs(x), abs(y))


def _is_stepped(tree: Node) -> bool:
  return any(node.op in _STEPPED for node in walk(tree))


@functools.lru_cache(maxsize=2048)
def _samples(tree: Node, stepped: bool, base: float) -> tuple[Any, ...]:
  """Values of a formula at the points; None where it has none."""
  values: list[Any] = []
  for place in range(STEPPED_POINTS if stepped else POINTS):
    try:
      value = _value(tree, place, stepped, base)
      values.append(value if _mp.isfinite(value) else None)
    except (ZeroDivisionError, ValueError, OverflowError, mpmath.libmp.libhyper.NoConvergence):
      values.append(None)
  return tuple(values)


@functools.lru_cache(maxsize=4096)
def _at(name: str, place: int, stepped: bool) -> Any:
  """The value of a symbol at a point: negative at some of the last points; with steps whole numbers at most of them."""
  draw = random.Random(f"{name} {place}")
  part = _mp.mpf(draw.getrandbits(120)) / 2**120
  if stepped:
    small = range(1, STEPPED_POINTS * 3 // 4 + 1)
    if place < len(small):
      return _mp.mpf(random.Random(name).sample(small, len(small))[place])
    return draw.randrange(2, 200) + (_mp.mpf(0) if name in _WHOLE else part)
  value = part * 2 + _mp.mpf("0.3")
  half = POINTS // 2
  is_negative = place >= half and (place == half + random.Random(name).randrange(half) or draw.random() < 0.4)
  return -value if is_negative else value


def _value(tree: Node, place: int, stepped: bool, base: float) -> Any:
  if tree.op == "number":
    return _mp.mpf(tree.value.numerator) / tree.value.denominator
  if tree.op == "constant":
    return {"e": _mp.e, "pi": _mp.pi, "i": _mp.mpc(0, 1)}[tree.value] + 0
  if tree.op in ("symbol", "derivative"):
    return _at(tree.value, place, stepped)
  args = [_value(arg, place, stepped, base) for arg in tree.args]
  if tree.op == "power" or tree.op == "root":
    return _power(args[0], *_exponent(tree, args[1]))
  if tree.op == "call":
    return _call(tree.value, args, base)
  return _OPERATIONS[tree.op](args)


def _sum(terms: Sequence[Any]) -> Any:
  total = _mp.fsum(terms)
  return _mp.mpf(0) if abs(total) < CANCELLED * max(map(abs, terms)) else total


def _exponent(tree: Node, value: Any) -> tuple[Any, Fraction | None]:
  """The exponent of a power or root, and exactly where it is rational."""
  exact = rational(tree.args[1])
  if tree.op == "power":
    return value, exact
  return 1 / value, (1 / exact if exact else None)


def _power(base: Any, exponent: Any, exact: Fraction | None) -> Any:
  """The power; of a negative number with an odd denominator of the exponent the real one."""
  if base == 0:
    if _mp.re(exponent) <= 0:
      raise ZeroDivisionError
    return _mp.mpf(0)
  if abs(exponent) * (abs(_mp.log(abs(base))) + 4) > LARGEST_EXPONENT:
    raise OverflowError
  if exact is not None and exact.denominator % 2 and exact.denominator > 1 and not _mp.im(base) and _mp.re(base) < 0:
    return (-1) ** exact.numerator * _mp.power(-_mp.re(base), exponent)
  return _mp.power(base, exponent)


def _call(name: str, args: Sequence[Any], base: float) -> Any:
  if abs(args[0]) > LARGEST_ANGLE and name not in ("ln", "log"):
    raise OverflowError
  if name == "log":
    base_value = args[1] if len(args) > 1 else (_mp.mpf(base) if base else _mp.e)
    return _mp.log(args[0]) / _mp.log(base_value)
  if name in _OVER and abs(getattr(_mp, _OVER[name])(args[0])) < CANCELLED:
    raise ZeroDivisionError
  return getattr(_mp, _CALLS[name])(args[0])


def _stepped(step: Any, value: Any) -> Any:
  """A step of a real number; one that is whole but for rounding is whole."""
  if _mp.im(value):
    raise ValueError
  value = _mp.re(value)
  nearest = _mp.nint(value)
  return nearest if abs(value - nearest) < AGREEMENT * max(1, abs(value)) else step(value)


def _small(value: Any) -> Any:
  if abs(value) > LARGEST_FACTORIAL:
    raise OverflowError
  return value


_OPERATIONS: dict[str, Any] = {
  "sum": _sum,
  "negative": lambda args: -args[0],
  "product": _mp.fprod,
  "quotient": lambda args: args[0] / args[1],
  "absolute": lambda args: abs(args[0]),
  "degree": lambda args: args[0] * _mp.pi / 180,
  "floor": lambda args: _stepped(_mp.floor, args[0]),
  "ceiling": lambda args: _stepped(_mp.ceil, args[0]),
  "factorial": lambda args: _mp.factorial(_small(args[0])),
  "double factorial": lambda args: _mp.fac2(_small(args[0])),
  "binomial": lambda args: _mp.binomial(_small(args[0]), _small(args[1])),
}
