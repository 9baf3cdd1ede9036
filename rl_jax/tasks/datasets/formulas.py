"""Formulas in answers, parsed by Python's grammar and evaluated node by node, never executed. Imports no JAX.

A formula is made of numbers, names, + - * / ** and functions of one argument. Each reader allows its own few of these
and computes in its own numbers, whose size is bounded, so that no formula takes long.
"""

from __future__ import annotations

import ast
import dataclasses
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

LONGEST = 2**14
"""Largest length of a formula, in characters."""
_ALPHABET = re.compile(r"[A-Za-z0-9\s.+\-*/()]+")
_OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
  ast.Add: operator.add,
  ast.Sub: operator.sub,
  ast.Mult: operator.mul,
  ast.Div: operator.truediv,
  ast.Pow: operator.pow,
}


class NoFormula(ValueError):
  """Error for text that is no formula, or none that the reader allows."""


@dataclasses.dataclass(frozen=True)
class Reader:
  """Allowed parts of a formula, and their meaning.

  Attributes:
    number: the value of a number as written.
    names: values by name.
    functions: functions of one value by name.
  """

  number: Callable[[int | float], Any]
  names: Mapping[str, Any]
  functions: Mapping[str, Callable[[Any], Any]] = dataclasses.field(default_factory=dict)

  def value(self, node: ast.expr) -> Any:
    """The value of a node of the grammar; ValueError or ArithmeticError where it has none."""
    match node:
      case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
        return self.number(number)
      case ast.Name(id=name) if name in self.names:
        return self.names[name]
      case ast.UnaryOp(op=ast.UAdd(), operand=operand):
        return self.value(operand)
      case ast.UnaryOp(op=ast.USub(), operand=operand):
        return -self.value(operand)
      case ast.BinOp():
        return self._chain(node)
      case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in self.functions:
        return self.functions[name](self.value(argument))
    raise NoFormula(f"not allowed in this formula: {type(node).__name__}")

  def _chain(self, node: ast.expr) -> Any:
    """The value of a + b - c …, without a level of recursion for each term."""
    steps: list[ast.BinOp] = []
    while isinstance(node, ast.BinOp):
      steps.append(node)
      node = node.left
    total = self.value(node)
    for step in reversed(steps):
      if type(step.op) not in _OPERATORS:
        raise NoFormula(f"not allowed in this formula: {type(step.op).__name__}")
      total = _OPERATORS[type(step.op)](total, self.value(step.right))
    return total


def parse(text: str) -> ast.expr:
  """The syntax tree of a formula.

  Raises: NoFormula: it is none, or it is longer than `LONGEST`.
  """
  if len(text) > LONGEST or not _ALPHABET.fullmatch(text):
    raise NoFormula(f"no formula: {text[:80]!r}")
  try:
    return ast.parse(text.strip(), mode="eval").body
  except (MemoryError, RecursionError, SyntaxError, ValueError) as error:
    raise NoFormula(f"no formula: {text[:80]!r}") from error
