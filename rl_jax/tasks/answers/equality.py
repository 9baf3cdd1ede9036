"""Equality of answers by type: ordered tuples, unordered sets, unordered but counted lists, matrices by entry.

Formulas are compared by an algebra, for which this package has no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, Protocol

from rl_jax.tasks.answers import forms, numbers, quantities
from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import tokenize
from rl_jax.tasks.answers.trees import Node, Unreadable, is_constant, number, rational, replaced, walk
from rl_jax.tasks.answers.values import (
  Approximation,
  Bracket,
  Collection,
  Expression,
  Matrix,
  NamedValue,
  Number,
  Quantity,
  Relation,
  Text,
  UnionOfParts,
  Value,
)

FORMS = ("simplified", "any")
_HUNDREDTH = Fraction(1, 100)
_LONGEST_PRODUCT = 4
"""Most letters of a run that may be a word or a product."""


class Algebra(Protocol):
  """Interface that compares formulas."""

  def same(self, a: Node, b: Node) -> bool:
    """Return whether two formulas are equal."""
    ...

  def near(self, tree: Node, value: Fraction, tolerance: Fraction) -> bool:
    """Return whether a formula without symbols is a number, within a relative tolerance."""
    ...

  def proportional(self, a: Node, b: Node) -> bool:
    """Return whether one formula is a number other than 0 times the other."""
    ...


class Comparison(NamedTuple):
  """A comparison of answers.

  Attributes:
    form: "simplified", a given answer is worked out as far as the wanted one; "any", equal values are equal.
  """

  algebra: Algebra
  form: str = "simplified"

  def equal(self, answer: Sequence[Value], gold: Sequence[Value]) -> bool:
    """Return whether a reading of the given answer equals one of the wanted answer."""
    return any(self.same(reading, other) for reading in answer for other in gold)

  def same(self, answer: Value, gold: Value, *, inside: bool = False) -> bool:
    """Return whether two values are equal.

    Args:
      inside: they are items of values of several items.
    """
    if isinstance(answer, NamedValue) or isinstance(gold, NamedValue):
      return self._named(answer, gold)
    answer, gold = _only(answer, gold), _only(gold, answer)
    if isinstance(answer, Approximation) or isinstance(gold, Approximation):
      return self._approximated(answer, gold)
    if isinstance(answer, Quantity) or isinstance(gold, Quantity):
      return self._quantities(answer, gold, inside)
    if isinstance(answer, Number) and isinstance(gold, Number):
      return _same_numbers(answer, gold)
    if isinstance(answer, Text) != isinstance(gold, Text):
      answer, gold = _as_product(answer), _as_product(gold)
    if isinstance(answer, Number | Expression) and isinstance(gold, Number | Expression):
      return self._formulas(answer, gold)
    if isinstance(answer, Relation) and isinstance(gold, Relation):
      return self._relations(answer, gold)
    return self._several(answer, gold)

  def _several(self, answer: Value, gold: Value) -> bool:
    """Values of several items, and those that are equal or not as they are."""
    if isinstance(gold, Collection):
      return self._collections(answer, gold)
    if isinstance(answer, Collection) and isinstance(gold, Bracket):
      point = _as_point(answer.items) if (gold.opening, gold.closing) == ("(", ")") else None
      return point is not None and self._in_order(point, gold.items)
    if isinstance(answer, Bracket) and isinstance(gold, Bracket):
      brackets = (answer.opening, answer.closing) == (gold.opening, gold.closing)
      return brackets and self._in_order(answer.items, gold.items)
    if isinstance(answer, UnionOfParts) and isinstance(gold, UnionOfParts):
      return self._in_any_order(answer.parts, gold.parts)
    if isinstance(answer, Matrix) and isinstance(gold, Matrix):
      rows = len(answer.rows) == len(gold.rows) and answer.is_determinant == gold.is_determinant
      return rows and all(map(self._in_order, answer.rows, gold.rows))
    return answer == gold

  def _named(self, answer: Value, gold: Value) -> bool:
    """Compare values of which at least one has a name; a name on one side alone does not count: x = 5 is 5."""
    if isinstance(answer, NamedValue) and isinstance(gold, NamedValue):
      return answer.name == gold.name and self.same(answer.value, gold.value)
    if isinstance(answer, NamedValue):
      if isinstance(gold, Relation):
        return self._relations(_as_relation(answer), gold)
      return self.same(answer.value, gold)
    assert isinstance(gold, NamedValue)
    if isinstance(answer, Relation):
      return self.form == "any" and self._relations(answer, _as_relation(gold))
    return self.same(answer, gold.value)

  def _approximated(self, answer: Value, gold: Value) -> bool:
    """Compare either side of a formula and its decimal; in an answer the two have to be about equal."""
    if isinstance(answer, Approximation):
      exact, decimal = answer.exact, answer.decimal
      if not is_constant(_tree(exact)) or not self.algebra.near(_tree(exact), decimal.value, _HUNDREDTH):
        return False
      return self.same(exact, gold) or self.same(decimal, gold)
    assert isinstance(gold, Approximation)
    return self.same(answer, gold.exact) or self.same(answer, gold.decimal)

  def _quantities(self, answer: Value, gold: Value, inside: bool) -> bool:
    """Units differ, or one side alone has one. Then one number and one simple unit is the number.

    A unit with a power, as km^2, says more than the gold answer can confirm.
    """
    if isinstance(answer, Quantity) and isinstance(gold, Quantity):
      return answer.unit == gold.unit and self.same(answer.amount, gold.amount)
    if isinstance(answer, Quantity):
      loose = answer.unit in ("%", "degree", *quantities.CURRENCIES)
      if quantities.has_power(answer.unit) or (inside and not loose):
        return False
      amounts: list[Value] = [answer.amount]
      if answer.unit == "%" and isinstance(answer.amount, Number):
        amounts.append(_share(answer.amount))
      return any(self.same(amount, gold) for amount in amounts)
    assert isinstance(gold, Quantity)
    share = [_share(gold.amount)] if gold.unit == "%" and isinstance(gold.amount, Number) else []
    return any(self.same(answer, amount) for amount in (gold.amount, *share))

  def _formulas(self, answer: Number | Expression, gold: Number | Expression) -> bool:
    if isinstance(answer, Expression) and self.form == "simplified":
      if isinstance(gold, Number) or not forms.fits(answer.tree, gold.tree):
        return False
    try:
      exact = _exact(answer), _exact(gold)
    except Unreadable:
      return False
    if exact[0] is not None and exact[1] is not None:
      return _same_numbers(exact[0], exact[1])
    trees = _tree(answer), _tree(gold)
    if trees[0] == trees[1]:
      return True
    for value, tree in zip(exact, trees[::-1], strict=True):
      if value is not None and value.decimal:
        return is_constant(tree) and self.algebra.near(tree, value.value, numbers.ROUNDING)
    if self.algebra.same(*trees):
      return True
    # A gold answer that lost its signs of degrees: \cos58 for \cos 58^\circ.
    bare = replaced(trees[0], "degree", lambda node: node.args[0])
    return bare != trees[0] and not _has_degrees(trees[1]) and self.algebra.same(bare, trees[1])

  def _relations(self, answer: Relation | None, gold: Relation | None) -> bool:
    """Equal sides, or, for equations, differences of the sides that are proportional."""
    if answer is None or gold is None or answer.sign != gold.sign:
      return False
    if self.form == "simplified" and not forms.fits(_difference(answer), _difference(gold)):
      return False
    sides = (answer.left, answer.right), (gold.left, gold.right)
    orders = (sides[0], sides[0][::-1]) if answer.sign in ("=", "ne") else (sides[0],)
    if any(all(map(self._same_trees, order, sides[1])) for order in orders):
      return True
    differences = _difference(answer), _difference(gold)
    if answer.sign not in ("=", "ne") or any(map(is_constant, differences)):
      return False
    return self.algebra.proportional(*differences)

  def _same_trees(self, a: Node, b: Node) -> bool:
    return a == b or self.algebra.same(a, b)

  def _collections(self, answer: Value, gold: Collection) -> bool:
    """A list as items without order, or as a tuple of the same items in order."""
    if isinstance(answer, Collection):
      items = self._distinct(answer.items) if gold.is_set else answer.items
      return self._in_any_order(items, self._distinct(gold.items) if gold.is_set else gold.items)
    if not isinstance(answer, Bracket) or gold.is_set:
      return False
    items = _as_point(gold.items) or gold.items
    is_tuple = (answer.opening, answer.closing) == ("(", ")") or (answer.opening == "[" and len(answer.items) > 2)
    return is_tuple and self._in_order(answer.items, items)

  def _distinct(self, items: Sequence[Value]) -> Sequence[Value]:
    distinct: list[Value] = []
    for item in items:
      if not any(self.same(item, other, inside=True) for other in distinct):
        distinct.append(item)
    return distinct

  def _in_order(self, answer: Sequence[Value], gold: Sequence[Value]) -> bool:
    return len(answer) == len(gold) and all(
      self.same(item, other, inside=True) for item, other in zip(answer, gold, strict=True)
    )

  def _in_any_order(self, answer: Sequence[Value], gold: Sequence[Value]) -> bool:
    if len(answer) != len(gold):
      return False
    left = list(gold)
    for item in answer:
      match = next((at for at, other in enumerate(left) if self.same(item, other, inside=True)), None)
      if match is None:
        return False
      del left[match]
    return True


def _same_numbers(a: Number, b: Number) -> bool:
  return numbers.same(numbers.Written(a.value, a.decimal), numbers.Written(b.value, b.decimal))


def _share(amount: Number) -> Number:
  """The share that a number of percent is."""
  return Number(amount.value * _HUNDREDTH, amount.decimal)


def _exact(value: Number | Expression) -> Number | None:
  """The number that a formula without symbols is exactly; None where it is not rational."""
  if isinstance(value, Number):
    return value
  result = rational(value.tree)
  return None if result is None else Number(result)


def _tree(value: Number | Expression) -> Node:
  return number(value.value) if isinstance(value, Number) else value.tree


def _difference(relation: Relation) -> Node:
  if relation.right == number(0):
    return relation.left
  return Node("sum", (relation.left, Node("negative", (relation.right,))))


def _as_relation(equation: NamedValue) -> Relation | None:
  """The equation of a symbol and its value; None where the value is no formula."""
  if not isinstance(equation.value, Number | Expression):
    return None
  return Relation(Node("symbol", (), equation.name), "=", _tree(equation.value))


def _only(value: Value, other: Value) -> Value:
  """The only item of a set that is compared with a number or formula."""
  if isinstance(value, Collection) and len(value.items) == 1 and isinstance(other, Number | Expression):
    return value.items[0]
  return value


def _as_point(items: Sequence[Value]) -> tuple[Value, ...] | None:
  """The coordinates that x = 1, y = 2 gives, in the order of their names; None for items of another kind."""
  coordinates = [item for item in items if isinstance(item, NamedValue)]
  names = sorted(item.name for item in coordinates)
  if len(coordinates) != len(items) or not all(map(str.isalpha, names)) or len(set(names)) != len(names):
    return None
  return tuple(item.value for item in sorted(coordinates, key=lambda item: item.name))


def _as_product(value: Value) -> Value:
  """Few letters that were taken for a word as the product that they may be."""
  if isinstance(value, Text) and value.characters.isalpha() and len(value.characters) <= _LONGEST_PRODUCT:
    try:
      return Expression(tree_of(tokenize(value.characters)))
    except Unreadable:
      return value
  return value


def _has_degrees(tree: Node) -> bool:
  return any(node.op == "degree" for node in walk(tree))
