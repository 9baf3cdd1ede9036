"""Equations, inequalities and memberships: x = 5, f(x) = x + 1, 2x + y = 3, 1 < x \\le 3, x \\in [1, 2]."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rl_jax.tasks.answers import groups
from rl_jax.tasks.answers.syntax import tree_of
from rl_jax.tasks.answers.tokens import Token, canonical
from rl_jax.tasks.answers.trees import Node, Unreadable, is_constant, symbols
from rl_jax.tasks.answers.values import (
  Approximation,
  Bracket,
  Expression,
  NamedValue,
  Number,
  Relation,
  UnionOfParts,
  Value,
)

Reader = Callable[[Sequence[Token]], Value]

_ORDER = {"<": "<", ">": ">", "le": "le", "ge": "ge"}
_MIRRORED = {"<": ">", ">": "<", "le": "ge", "ge": "le"}
_OTHERS = ("equiv", "notin", "approx", "to", "sim", "cong", "propto", "subset", "subseteq", "not", "mid")
_INFINITY = Expression(Node("symbol", (), "infty"))
_MINUS_INFINITY = Expression(Node("negative", (_INFINITY.tree,)))


def everything() -> Bracket:
  """The real numbers as an interval."""
  return Bracket("(", (_MINUS_INFINITY, _INFINITY), ")")


def relation(tokens: Sequence[Token], read: Reader) -> Value | None:
  """The relation that tokens are; None: no sign of one is outside of brackets.

  One side of an equation that is a name makes a value with a name of it. A chain of equations is none.

  Raises: Unreadable: there is a sign, but what is beside it makes no relation.
  """
  signs = [token for token in groups.outside(tokens) if _sign(token)]
  if not signs:
    return None
  sides = groups.split(tokens, lambda token: bool(_sign(token)))
  names = [_sign(token) for token in signs]
  if names == ["approx"]:
    return _approximation(sides[0], sides[1], read)
  if len(names) == 1 and names[0] in ("=", "in"):
    return _equation(names[0], sides[0], sides[1], read)
  if len(names) == 1 and names[0] == "ne":
    return Relation(tree_of(sides[0]), "ne", tree_of(sides[1]))
  if all(name in _ORDER for name in names) and len(names) <= 2:
    return _order(names, sides, read)
  raise Unreadable(f"{len(names)} signs of relations: {' '.join(names)}")


def _sign(token: Token) -> str:
  """The relation that a token is a sign of; "" for none."""
  if token.is_sign("=", "<", ">"):
    return token.text
  return token.text if token.is_command("le", "ge", "ne", "in", *_OTHERS) else ""


def _approximation(left: Sequence[Token], right: Sequence[Token], read: Reader) -> Value:
  """Read an approximation, which after a name is an equation: the decimal gives the value."""
  if not left or _name(left):
    return _equation("=", left, right, read)
  exact, decimal = read(left), read(right)
  if not isinstance(exact, Number | Expression) or not isinstance(decimal, Number):
    raise Unreadable("about equal, but not a formula and a number")
  return Approximation(exact, decimal)


def _equation(sign: str, left: Sequence[Token], right: Sequence[Token], read: Reader) -> Value:
  if not right:
    raise Unreadable("nothing behind a sign of relation")
  if not left and sign == "=":
    return read(right)
  name = _name(left)
  if name:
    value = read(right)
    if isinstance(value, NamedValue):
      raise Unreadable("a name for a relation")
    return NamedValue(name, value)
  if sign == "in":
    raise Unreadable("a member without a name")
  tree = tree_of(left)
  if tree.op in ("call", "absolute", "operator") and symbols(tree):
    value = read(right)
    if isinstance(value, Number) or (isinstance(value, Expression) and is_constant(value.tree)):
      return NamedValue(canonical(left), value)
  return Relation(tree, "=", tree_of(right))


def _name(tokens: Sequence[Token]) -> str:
  r"""The name that tokens are, without arguments: x, f(x), f^{-1}(x), E[X], AB, \Delta H, (x, y), words; "": none."""
  name = list(tokens)
  if not name:
    return ""
  if name[-1].is_sign(")", "]"):
    opening = next((at for at in range(len(name)) if at + groups.closes(name[at:]) == len(name) - 1), 0)
    if opening == 0:
      inner = name[1:-1]
      parts = groups.split(inner, lambda token: token.is_sign(","))
      return canonical(name) if len(parts) > 1 and all(_is_symbol(part) for part in parts) else ""
    name = name[:opening]
  return canonical(name) if _is_symbol(name) or _is_label(name) else ""


def _is_symbol(tokens: Sequence[Token]) -> bool:
  """Return whether tokens are one symbol with scripts, or capital letters that name a segment or an angle."""
  symbol_tokens = [token for token in tokens if not token.is_command("angle", "triangle", "Delta")] or [*tokens]
  if len(symbol_tokens) == 2 and len(tokens) == 3 and tokens[1].is_command("angle") and symbol_tokens[0].text == "m":
    symbol_tokens = symbol_tokens[1:]  # the measure of an angle
  exponent = [token.text for token in symbol_tokens[-5:]]
  if exponent == ["^", "{", "-", "1", "}"]:
    symbol_tokens = symbol_tokens[:-5]
  if not symbol_tokens:
    return False
  if len(symbol_tokens) == 1 and symbol_tokens[0].kind == "letters" and len(symbol_tokens[0].text) > 1:
    return bool(re.fullmatch("[A-Z]{2,3}", symbol_tokens[0].text))
  try:
    tree = tree_of(symbol_tokens)
  except Unreadable:
    return False
  return tree.op == "symbol" or (tree.op == "constant" and tree.value != "pi")


def _is_label(tokens: Sequence[Token]) -> bool:
  return all(token.kind in ("word", "name") or (token.kind == "letters" and len(token.text) > 3) for token in tokens)


def _order(names: Sequence[str], sides: Sequence[Sequence[Token]], read: Reader) -> Value:
  """An inequality of one symbol as an interval, another as it is."""
  trees = [tree_of(side) for side in sides]
  if len(names) == 1:
    if trees[1].op == "symbol" and trees[1].value != "infty":
      trees, names, sides = trees[::-1], [_MIRRORED[names[0]]], sides[::-1]
    if trees[0].op == "symbol" and is_constant(trees[1]):
      bound = read(sides[1])
      below = names[0] in ("<", "le")
      low, high = (_MINUS_INFINITY, bound) if below else (bound, _INFINITY)
      closed = names[0] in ("le", "ge")
      return NamedValue(trees[0].value, _interval(low, high, closed and not below, closed and below))
    if names[0] in (">", "ge"):
      return Relation(trees[1], _MIRRORED[names[0]], trees[0])
    return Relation(trees[0], names[0], trees[1])
  if names[0] in (">", "ge"):
    trees, names, sides = trees[::-1], [_MIRRORED[name] for name in names[::-1]], sides[::-1]
  if trees[1].op != "symbol" or any(name in (">", "ge") for name in names):
    raise Unreadable("a chain of inequalities that bounds no symbol")
  return NamedValue(trees[1].value, _interval(read(sides[0]), read(sides[2]), names[0] == "le", names[1] == "le"))


def _interval(low: Value, high: Value, closed_low: bool, closed_high: bool) -> Bracket:
  if not all(isinstance(end, Number | Expression) for end in (low, high)):
    raise Unreadable("an interval between values that have no order")
  return Bracket("[" if closed_low else "(", (low, high), "]" if closed_high else ")")


def union(items: Sequence[Value]) -> NamedValue | None:
  """Inequalities of one symbol, joined by "or", as the union of their intervals; None for other items."""
  if not all(isinstance(item, NamedValue) and isinstance(item.value, Bracket) for item in items):
    return None
  inequalities = [item for item in items if isinstance(item, NamedValue)]
  if len({item.name for item in inequalities}) != 1:
    return None
  return NamedValue(inequalities[0].name, UnionOfParts(tuple(item.value for item in inequalities)))
