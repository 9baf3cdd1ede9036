"""Equality of answers by type: tuples in order, sets without, lists without but counted, matrices entry by entry.

An algebra decides on formulas, for which this package has no engine.
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
"""Of letters that may be a word or a product."""


class Algebra(Protocol):
  """Decides on formulas."""

  def same(self, a: Node, b: Node) -> bool:
    """Whether two formulas are equal."""
    ...

  def near(self, tree: Node, value: Fraction, tolerance: Fraction) -> bool:
    """Whether a formula without symbols is a number, within a relative tolerance."""
    ...

  def proportional(self, a: Node, b: Node) -> bool:
    """Whether one formula is a number other than 0 times the other."""
    ...


class Comparison(NamedTuple):
  """A comparison of answers.

  Attributes:
    form: "simplified", a given answer is worked out as far as the wanted one; "any", equal values are equal.
  """

  algebra: Algebra
  form: str = "simplified"

  def equal(self, given: Sequence[Value], wanted: Sequence[Value]) -> bool:
    """Whether a reading of the given answer equals one of the wanted answer."""
    return any(self.same(one, other) for one in given for other in wanted)

  def same(self, given: Value, wanted: Value, *, inside: bool = False) -> bool:
    """Whether two values are equal.

    Args:
      inside: they are items of values of several items.
    """
    if isinstance(given, NamedValue) or isinstance(wanted, NamedValue):
      return self._named(given, wanted)
    given, wanted = _only(given, wanted), _only(wanted, given)
    if isinstance(given, Approximation) or isinstance(wanted, Approximation):
      return self._approximated(given, wanted)
    if isinstance(given, Quantity) or isinstance(wanted, Quantity):
      return self._quantities(given, wanted, inside)
    if isinstance(given, Number) and isinstance(wanted, Number):
      return _same_numbers(given, wanted)
    if isinstance(given, Text) != isinstance(wanted, Text):
      given, wanted = _as_product(given), _as_product(wanted)
    if isinstance(given, Number | Expression) and isinstance(wanted, Number | Expression):
      return self._formulas(given, wanted)
    if isinstance(given, Relation) and isinstance(wanted, Relation):
      return self._relations(given, wanted)
    return self._several(given, wanted)

  def _several(self, given: Value, wanted: Value) -> bool:
    """Values of several items, and those that are equal or not as they are."""
    if isinstance(wanted, Collection):
      return self._collections(given, wanted)
    if isinstance(given, Collection) and isinstance(wanted, Bracket):
      point = _as_point(given.items) if (wanted.opening, wanted.closing) == ("(", ")") else None
      return point is not None and self._in_order(point, wanted.items)
    if isinstance(given, Bracket) and isinstance(wanted, Bracket):
      brackets = (given.opening, given.closing) == (wanted.opening, wanted.closing)
      return brackets and self._in_order(given.items, wanted.items)
    if isinstance(given, UnionOfParts) and isinstance(wanted, UnionOfParts):
      return self._in_any_order(given.parts, wanted.parts)
    if isinstance(given, Matrix) and isinstance(wanted, Matrix):
      rows = len(given.rows) == len(wanted.rows) and given.is_determinant == wanted.is_determinant
      return rows and all(map(self._in_order, given.rows, wanted.rows))
    return given == wanted

  def _named(self, given: Value, wanted: Value) -> bool:
    """A name that one side alone has says nothing: x = 5 is 5."""
    if isinstance(given, NamedValue) and isinstance(wanted, NamedValue):
      return given.name == wanted.name and self.same(given.value, wanted.value)
    if isinstance(given, NamedValue):
      if isinstance(wanted, Relation):
        return self._relations(_as_relation(given), wanted)
      return self.same(given.value, wanted)
    assert isinstance(wanted, NamedValue)
    if isinstance(given, Relation):
      return self.form == "any" and self._relations(given, _as_relation(wanted))
    return self.same(given, wanted.value)

  def _approximated(self, given: Value, wanted: Value) -> bool:
    """Either side of a formula and its decimal, which have to be about equal where they were given."""
    if isinstance(given, Approximation):
      exact, decimal = given.exact, given.decimal
      if not is_constant(_tree(exact)) or not self.algebra.near(_tree(exact), decimal.value, _HUNDREDTH):
        return False
      return self.same(exact, wanted) or self.same(decimal, wanted)
    assert isinstance(wanted, Approximation)
    return self.same(given, wanted.exact) or self.same(given, wanted.decimal)

  def _quantities(self, given: Value, wanted: Value, inside: bool) -> bool:
    """Units differ, or one side alone has one. Then one number and one simple unit is the number.

    A unit with a power, as km^2, says more than the gold answer can confirm.
    """
    if isinstance(given, Quantity) and isinstance(wanted, Quantity):
      return given.unit == wanted.unit and self.same(given.amount, wanted.amount)
    if isinstance(given, Quantity):
      loose = given.unit in ("%", "degree", *quantities.CURRENCIES)
      if quantities.has_power(given.unit) or (inside and not loose):
        return False
      amounts: list[Value] = [given.amount]
      if given.unit == "%" and isinstance(given.amount, Number):
        amounts.append(_share(given.amount))
      return any(self.same(amount, wanted) for amount in amounts)
    assert isinstance(wanted, Quantity)
    share = [_share(wanted.amount)] if wanted.unit == "%" and isinstance(wanted.amount, Number) else []
    return any(self.same(given, amount) for amount in (wanted.amount, *share))

  def _formulas(self, given: Number | Expression, wanted: Number | Expression) -> bool:
    if isinstance(given, Expression) and self.form == "simplified":
      if isinstance(wanted, Number) or not forms.fits(given.tree, wanted.tree):
        return False
    try:
      exact = _exact(given), _exact(wanted)
    except Unreadable:
      return False
    if exact[0] is not None and exact[1] is not None:
      return _same_numbers(exact[0], exact[1])
    trees = _tree(given), _tree(wanted)
    if trees[0] == trees[1]:
      return True
    for this, tree in zip(exact, trees[::-1], strict=True):
      if this is not None and this.decimal:
        return is_constant(tree) and self.algebra.near(tree, this.value, numbers.ROUNDING)
    if self.algebra.same(*trees):
      return True
    # A gold answer that lost its signs of degrees: \cos58 for \cos 58^\circ.
    bare = replaced(trees[0], "degree", lambda node: node.args[0])
    return bare != trees[0] and not _has_degrees(trees[1]) and self.algebra.same(bare, trees[1])

  def _relations(self, given: Relation | None, wanted: Relation | None) -> bool:
    """Equal sides, or, for equations, differences of the sides that are proportional."""
    if given is None or wanted is None or given.sign != wanted.sign:
      return False
    if self.form == "simplified" and not forms.fits(_difference(given), _difference(wanted)):
      return False
    sides = (given.left, given.right), (wanted.left, wanted.right)
    orders = (sides[0], sides[0][::-1]) if given.sign in ("=", "ne") else (sides[0],)
    if any(all(map(self._same_trees, order, sides[1])) for order in orders):
      return True
    differences = _difference(given), _difference(wanted)
    if given.sign not in ("=", "ne") or any(map(is_constant, differences)):
      return False
    return self.algebra.proportional(*differences)

  def _same_trees(self, a: Node, b: Node) -> bool:
    return a == b or self.algebra.same(a, b)

  def _collections(self, given: Value, wanted: Collection) -> bool:
    """A list as items without order, or as a tuple of the same items in order."""
    if isinstance(given, Collection):
      items = self._distinct(given.items) if wanted.is_set else given.items
      return self._in_any_order(items, self._distinct(wanted.items) if wanted.is_set else wanted.items)
    if not isinstance(given, Bracket) or wanted.is_set:
      return False
    items = _as_point(wanted.items) or wanted.items
    is_tuple = (given.opening, given.closing) == ("(", ")") or (given.opening == "[" and len(given.items) > 2)
    return is_tuple and self._in_order(given.items, items)

  def _distinct(self, items: Sequence[Value]) -> Sequence[Value]:
    kept: list[Value] = []
    for item in items:
      if not any(self.same(item, other, inside=True) for other in kept):
        kept.append(item)
    return kept

  def _in_order(self, given: Sequence[Value], wanted: Sequence[Value]) -> bool:
    return len(given) == len(wanted) and all(
      self.same(one, other, inside=True) for one, other in zip(given, wanted, strict=True)
    )

  def _in_any_order(self, given: Sequence[Value], wanted: Sequence[Value]) -> bool:
    if len(given) != len(wanted):
      return False
    left = list(wanted)
    for one in given:
      match = next((at for at, other in enumerate(left) if self.same(one, other, inside=True)), None)
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


def _as_relation(named: NamedValue) -> Relation | None:
  """The equation of a symbol and its value; None where the value is no formula."""
  if not isinstance(named.value, Number | Expression):
    return None
  return Relation(Node("symbol", (), named.name), "=", _tree(named.value))


def _only(value: Value, other: Value) -> Value:
  """The only item of a set that is compared with a number or formula."""
  if isinstance(value, Collection) and len(value.items) == 1 and isinstance(other, Number | Expression):
    return value.items[0]
  return value


def _as_point(items: Sequence[Value]) -> tuple[Value, ...] | None:
  """The coordinates that x = 1, y = 2 gives, in the order of their names; None for items of another kind."""
  named = [item for item in items if isinstance(item, NamedValue)]
  names = sorted(item.name for item in named)
  if len(named) != len(items) or not all(map(str.isalpha, names)) or len(set(names)) != len(names):
    return None
  return tuple(item.value for item in sorted(named, key=lambda item: item.name))


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
