"""Conditions on values reported by a program: a bounded evaluator of a small part of Python's expressions."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MOST_BITS, MOST_ITEMS = 1 << 20, 1 << 20
LONGEST_SHOWN = 200


class CannotEvaluate(Exception):
  """Error of a condition that raises or exceeds its bounds, which then has not passed."""


class _Raised:
  """Value of an expression that raised an exception; a condition that reads it raises too."""


RAISED = _Raised()

OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.FloorDiv: operator.floordiv,
  ast.Mod: operator.mod,
  ast.Pow: operator.pow,
}
_UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
  ast.Not: operator.not_,
  ast.USub: operator.neg,
  ast.UAdd: operator.pos,
  ast.Invert: operator.invert,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
  ast.Eq: operator.eq,
  ast.NotEq: operator.ne,
  ast.Lt: operator.lt,
  ast.LtE: operator.le,
  ast.Gt: operator.gt,
  ast.GtE: operator.ge,
  ast.Is: operator.is_,
  ast.IsNot: operator.is_not,
  ast.In: lambda a, b: a in b,
  ast.NotIn: lambda a, b: a not in b,
}
_JUDGING: dict[str, Callable[..., Any]] = {"abs": abs, "all": all, "any": any, "math.isclose": math.isclose}
"""Functions that tests put around values and what they should be."""
_MAKING: dict[str, Callable[..., Any]] = {
  make.__name__: make for make in (bool, dict, float, frozenset, int, len, list, range, set, sorted, str, sum, tuple)
}
"""Functions that tests make literals with."""
_FUNCTIONS = _JUDGING | _MAKING


def judges(call: ast.Call) -> bool:
  """Return whether a call sums up truths, so that it is evaluated here."""
  return name(call) in ("all", "any")


def makes(call: ast.Call) -> bool:
  """Return whether a call of literals is a literal of its own, as `set([1, 2])` is."""
  return name(call) in _MAKING and not call.keywords


def name(call: ast.Call) -> str:
  """The name of the function that is called, where this module may know it; else ""."""
  match call.func:
    case ast.Name(called):
      return called
    case ast.Attribute(ast.Name("math"), called):
      return f"math.{called}"
  return ""


def may_compare(operators: Sequence[ast.cmpop], others: Sequence[ast.expr]) -> bool:
  """Return whether values tell the outcome: identity is that of None, True and False alone."""
  single = lambda node: isinstance(node, ast.Constant) and node.value in (None, True, False)
  return all(single(b) for a, b in zip(operators, others, strict=True) if isinstance(a, ast.Is | ast.IsNot))


def value(node: ast.expr, variables: Mapping[str, Any]) -> Any:
  """The value of a condition. Raises: CannotEvaluate."""
  try:
    return _value(node, variables)
  except (ArithmeticError, LookupError, TypeError, ValueError, RecursionError, MemoryError) as error:
    raise CannotEvaluate(f"{type(error).__name__}: {error}") from error


def _value(node: ast.expr, variables: Mapping[str, Any]) -> Any:
  match node:
    case ast.Constant(constant):
      return constant
    case ast.Name(known_as):
      if variables[known_as] is RAISED:
        raise CannotEvaluate("an exception")
      return variables[known_as]
    case ast.Compare(left, operators, others):
      a = _value(left, variables)
      for kind, other in zip(operators, others, strict=True):
        b = _value(other, variables)
        if not _COMPARE[type(kind)](a, b):
          return False
        a = b
      return True
    case ast.BoolOp(kind, operands):
      truth: Any = None
      for operand in operands:
        truth = _value(operand, variables)
        if bool(truth) == isinstance(kind, ast.Or):
          break
      return truth
    case ast.UnaryOp(kind, operand):
      return _UNARY[type(kind)](_value(operand, variables))
    case ast.BinOp(left, kind, right):
      return _bounded(kind, _value(left, variables), _value(right, variables))
    case ast.Tuple(items):
      return tuple(_value(item, variables) for item in items)
    case ast.List(items):
      return [_value(item, variables) for item in items]
    case ast.Set(items):
      return {_value(item, variables) for item in items}
    case ast.Dict(keys, values):
      return {_value(k, variables): _value(v, variables) for k, v in zip(keys, values, strict=True) if k is not None}
    case ast.Call():
      return _call(node, variables)
  raise TypeError(f"no condition: {ast.dump(node)[:80]}")


def _call(node: ast.Call, variables: Mapping[str, Any]) -> Any:
  arguments = [_value(argument, variables) for argument in node.args]
  if any(isinstance(argument, range) and len(argument) > MOST_ITEMS for argument in arguments):
    raise ValueError(f"more than {MOST_ITEMS} items")
  keyword_arguments = {keyword.arg: _value(keyword.value, variables) for keyword in node.keywords if keyword.arg}
  return _FUNCTIONS[name(node)](*arguments, **keyword_arguments)


def _bounded(kind: ast.operator, a: Any, b: Any) -> Any:
  """a kind b, unless the result would be very large."""
  integers = isinstance(a, int) and isinstance(b, int)
  too_large = False
  if isinstance(kind, ast.Pow):
    too_large = integers and abs(b) * max(a.bit_length(), 1) > MOST_BITS
  elif isinstance(kind, ast.Mult):
    too_large = not integers and any(isinstance(x, int) and hasattr(y, "__len__") and x * len(y) > MOST_ITEMS
                                  for x, y in ((a, b), (b, a)))  # fmt: skip
  elif isinstance(kind, ast.Mod):
    too_large = isinstance(a, str | bytes)  # a format with a width
  if too_large:
    raise ValueError("a very large value")
  return OPERATORS[type(kind)](a, b)


def shown(item: Any) -> str:
  """Value as text for a message."""
  if item is RAISED:
    return "an exception"
  try:
    text = repr(item)
  except ValueError:  # whole numbers of very many digits
    text = f"a {type(item).__name__}"
  return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
