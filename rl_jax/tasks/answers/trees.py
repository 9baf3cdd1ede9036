"""Expressions as trees, and their exact value where they are rational numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

MOST_BITS = 20_000
"""Most bits of a numerator or denominator; anything larger has no value."""
MOST_FACTORIAL = 2000


class Unreadable(ValueError):
  """Text that is no expression, or one that is too long, too deep or too large to be compared."""


class Node(NamedTuple):
  """An expression.

  Attributes:
    op: "number", "constant" (e, i, pi), "symbol", "sum", "negative", "product", "quotient", "power", "root" (of arg 0,
      arg 1 is the index), "call", "absolute", "floor", "ceiling", "factorial", "double factorial", "binomial",
      "degree", "either" (plus or minus its argument), "derivative" (of a symbol), "operator" (a sum, an integral, …;
      arg 0 is its body, the rest is in its scripts).
    args: its parts.
    value: a Fraction for a number; else a name, and for an operator its LaTeX without the body.
  """

  op: str
  args: tuple[Node, ...] = ()
  value: Any = None


def number(value: Fraction | int) -> Node:
  """The tree of a number."""
  return Node("number", (), Fraction(value))


def walk(tree: Node) -> Iterator[Node]:
  """The tree and all its parts."""
  stack = [tree]
  while stack:
    node = stack.pop()
    yield node
    stack += node.args


def symbols(tree: Node) -> frozenset[str]:
  """Names of the symbols in a tree."""
  return frozenset(node.value for node in walk(tree) if node.op in ("symbol", "derivative"))


def is_constant(tree: Node) -> bool:
  """Return whether a tree has no symbols."""
  return not symbols(tree)


def is_literal(tree: Node) -> bool:
  """Return whether a tree is one number as written: signed, a fraction of whole numbers, or times a power of ten."""
  if tree.op == "negative":
    return tree.args[0].op != "negative" and is_literal(tree.args[0])
  if tree.op == "quotient":
    return all(_is_whole(arg) for arg in tree.args) and tree.args[1] != number(0)
  if tree.op == "product":
    return len(tree.args) == 2 and tree.args[0].op == "number" and _is_power_of_ten(tree.args[1])
  return tree.op == "number" or _is_power_of_ten(tree)


def _is_whole(tree: Node) -> bool:
  tree = tree.args[0] if tree.op == "negative" else tree
  return tree.op == "number" and tree.value.denominator == 1


def _is_power_of_ten(tree: Node) -> bool:
  return tree.op == "power" and tree.args[0] == number(10) and _is_whole(tree.args[1])


def replaced(tree: Node, op: str, by: Any) -> Node:
  """The tree with each node of the operation `op` replaced by by(node), innermost first."""
  node = tree._replace(args=tuple(replaced(arg, op, by) for arg in tree.args))
  return by(node) if node.op == op else node


def rational(tree: Node) -> Fraction | None:
  """The value of a tree that is made of numbers alone by exact operations; None for any other.

  >>> rational(Node("power", (number(2), number(-3))))
  Fraction(1, 8)

  Raises: Unreadable: a power or factorial in it is too large, or it divides by 0.
  """
  if tree.op == "number":
    return tree.value
  # All parts are looked at, so that nothing too large hides behind one that has no rational value.
  values = [rational(arg) for arg in tree.args]
  if not values or None in values or tree.op not in _EXACT:
    return None
  result = _EXACT[tree.op](*values)
  if result is not None and max(result.numerator.bit_length(), result.denominator.bit_length()) > MOST_BITS:
    raise Unreadable("a number is too large")
  return result


def _quotient(a: Fraction, b: Fraction) -> Fraction:
  if b == 0:
    raise Unreadable("division by 0")
  return a / b


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
  if exponent.denominator != 1:
    return _root(_power(base, Fraction(exponent.numerator)), Fraction(exponent.denominator))
  if base == 0 and exponent <= 0:
    raise Unreadable("0 to a power that is not positive")
  bits = max(base.numerator.bit_length(), base.denominator.bit_length())
  if abs(base) != 1 and base != 0 and bits * abs(exponent) > MOST_BITS:
    raise Unreadable("a power is too large")
  if abs(base) == 1 and exponent.numerator % 2 == 0:
    return Fraction(1)
  return base if abs(base) == 1 else base**exponent.numerator


def _root(base: Fraction | None, index: Fraction) -> Fraction | None:
  """The root where it is rational: of a number that is a perfect power."""
  if base is None or base < 0 or index.denominator != 1 or not 0 < index <= 64:
    return None
  parts = [_whole_root(part, index.numerator) for part in (base.numerator, base.denominator)]
  return Fraction(parts[0], parts[1]) if parts[0] is not None and parts[1] is not None else None


def _whole_root(value: int, index: int) -> int | None:
  if index == 2:
    root = math.isqrt(value)
    return root if root * root == value else None
  if value < 2:
    return value
  low, high = 1, 1 << (value.bit_length() // index + 1)
  while low < high:
    middle = (low + high + 1) // 2
    low, high = (middle, high) if middle**index <= value else (low, middle - 1)
  return low if low**index == value else None


def _factorial(value: Fraction, step: int) -> Fraction | None:
  if value.denominator != 1 or value < 0:
    return None
  if value > MOST_FACTORIAL:
    raise Unreadable("a factorial is too large")
  return Fraction(math.prod(range(value.numerator, 0, -step)))


def _binomial(n: Fraction, k: Fraction) -> Fraction | None:
  if n.denominator != 1 or k.denominator != 1 or n < 0 or k < 0:
    return None
  if n > MOST_FACTORIAL:
    raise Unreadable("a binomial is too large")
  return Fraction(math.comb(n.numerator, k.numerator))


def _product(*factors: Fraction) -> Fraction:
  result = Fraction(1)
  for factor in factors:
    result *= factor
    if max(result.numerator.bit_length(), result.denominator.bit_length()) > MOST_BITS:
      raise Unreadable("a product is too large")
  return result


_EXACT: dict[str, Any] = {
  "sum": lambda *terms: sum(terms, Fraction(0)),
  "negative": lambda value: -value,
  "product": _product,
  "quotient": _quotient,
  "power": _power,
  "root": _root,
  "absolute": abs,
  "floor": lambda value: Fraction(math.floor(value)),
  "ceiling": lambda value: Fraction(math.ceil(value)),
  "factorial": lambda value: _factorial(value, 1),
  "double factorial": lambda value: _factorial(value, 2),
  "binomial": _binomial,
}
