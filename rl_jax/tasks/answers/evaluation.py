r"""Completeness of a formula's arithmetic: 3 \cdot 5x, \pi - \frac{3\pi}{4} and (1 + i)^2 are not worked out."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

from rl_jax.tasks.answers.trees import Node, is_literal, rational, walk

_I = Node("constant", (), "i")


def pending(tree: Node) -> int:
  """The number of operations in a tree that have numbers alone on both sides, fractions and powers of ten aside."""
  if rational(tree) is not None:
    return 0 if is_literal(tree) else 1
  args = flat_args(tree)
  numbers = sum(rational(arg) is not None for arg in args) if tree.op in ("sum", "product") else 1
  return max(0, numbers - 1) + sum(map(pending, args))


def flat_args(tree: Node) -> list[Node]:
  """The parts of a tree, with those of sums in sums and products in products."""
  if tree.op not in ("sum", "product"):
    return list(tree.args)
  return [part for arg in tree.args for part in (flat_args(arg) if arg.op == tree.op else [arg])]


def is_collected(tree: Node) -> bool:
  """Return whether no two terms differ in a number alone, and no factor occurs twice in a term."""
  powers = [_powers(term) for term in terms(tree)]
  return None not in powers and max(Counter(powers).values()) == 1


def _powers(term: Node) -> frozenset[tuple[Node, Fraction]] | None:
  """The factors of a term that are no numbers, with their powers; None: one occurs twice."""
  powers = [(factor, times) for factor, times in factors(term) if rational(factor) is None]
  return frozenset(powers) if len({factor for factor, _ in powers}) == len(powers) else None


def terms(tree: Node) -> list[Node]:
  """The terms of a sum, without their signs and the number that all of it is over."""
  if tree.op == "sum":
    return [term for arg in tree.args for term in terms(arg)]
  over_number = tree.op == "quotient" and rational(tree.args[1]) is not None
  return terms(tree.args[0]) if tree.op == "negative" or over_number else [tree]


def factors(tree: Node) -> list[tuple[Node, Fraction]]:
  """The factors of a product and their powers, which are negative below a line of fraction."""
  if tree.op == "product":
    return [pair for arg in tree.args for pair in factors(arg)]
  if tree.op == "quotient":
    return factors(tree.args[0]) + [(factor, -times) for factor, times in factors(tree.args[1])]
  if tree.op == "negative":
    return factors(tree.args[0])
  if tree.op == "power" and tree.args[1].op == "number":
    return [(factor, times * tree.args[1].value) for factor, times in factors(tree.args[0])]
  return [(tree, Fraction(1))]


def degree(tree: Node) -> Fraction:
  """The degree of a polynomial in all of its symbols; of other functions 0."""
  if tree.op == "symbol":
    return Fraction(1)
  if tree.op == "sum":
    return max(map(degree, tree.args))
  if tree.op == "product":
    return sum(map(degree, tree.args), Fraction(0))
  if tree.op in ("negative", "quotient"):
    return degree(tree.args[0])
  if tree.op in ("power", "root") and tree.args[1].op == "number" and tree.args[1].value > 0:
    index = tree.args[1].value
    return degree(tree.args[0]) * (index if tree.op == "power" else 1 / index)
  return Fraction(0)


def degree_below(tree: Node) -> Fraction:
  """The largest degree of a denominator in a tree."""
  return max(map(_degree_below, walk(tree)))


def _degree_below(node: Node) -> Fraction:
  if node.op == "quotient":
    return degree(node.args[1])
  exponent = rational(node.args[1]) if node.op == "power" else None
  return degree(node.args[0]) * -exponent if exponent is not None and exponent < 0 else Fraction(0)


def is_complex_number(tree: Node) -> bool:
  """Return whether a tree is a complex number with one imaginary part, over no more than a number."""
  inner = [node for node in walk(tree) if node.op in ("power", "call", "root", "absolute", "operator")]
  inner += [node.args[1] for node in walk(tree) if node.op == "quotient"]
  return _count_i(tree) == 1 and not any(map(_count_i, inner))


def _count_i(tree: Node) -> int:
  return sum(node == _I for node in walk(tree))
