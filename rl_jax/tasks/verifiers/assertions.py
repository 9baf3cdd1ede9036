"""Tests written as Python code, split so that what is expected stays outside of the program's interpreter.

`assert CALL == LITERAL` becomes a step that reports the value of CALL, and a condition on it that is evaluated here.
So do comparisons, `and`, `or`, `not`, arithmetic, `abs`, `math.isclose` and `all([…])` around calls and literals,
several assertions in a row, names for literals, and `def check(candidate)` with `check(f)`.
Anything else has to run inside, where a program that was written to deceive its judge can make it pass.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers import conditions
from rl_jax.tasks.verifiers.isolation.driver import Step
from rl_jax.tasks.verifiers.values import Unreadable, decoded


class Split(NamedTuple):
  """A test taken apart.

  Attributes:
    steps: run after the program, one after the other.
    conditions: expressions on the values that steps report (`probe_<number of the step>`) and on `constants`, each with
      the assertion that it stands for.
    constants: values of names that the test gives to literals.
    inside: whether a part of it has to run inside.
  """

  steps: tuple[Step, ...]
  conditions: tuple[tuple[ast.expr, str], ...]
  constants: dict[str, Any]
  inside: bool


@functools.lru_cache(maxsize=4096)
def split(test: str) -> Split:
  """Take a test apart. One that is no Python runs inside, and fails there."""
  whole = Split((("prove", test),), (), {}, True)
  try:
    statements = _inlined(ast.parse(test).body)
    literals = _literals(statements)
    while True:
      found = _Splitter(statements, frozenset(literals)).split()
      changed = literals.keys() & _names(source for kind, source in found.steps)
      if not changed:  # a name that is used inside may be changed there
        break
      literals = {name: value for name, value in literals.items() if name not in changed}
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return whole
  if not any(isinstance(statement, ast.Assert) for statement in statements):
    return whole
  return found._replace(constants=literals)


def failure(parts: Split, frames: Sequence[dict[str, Any]], proven: bool) -> str:
  """Why a test has not passed: a line; "" if it has.

  Args:
    frames: what its steps reported.
    proven: whether the assertions that ran inside have passed.
  """
  reports = [frame for frame in frames if "ready" not in frame]
  if len(reports) < len(parts.steps):
    return "the program or the test has ended too early"
  known = dict(parts.constants)
  for number, ((kind, source), report) in enumerate(zip(parts.steps, reports, strict=False)):
    if kind == "value":
      try:
        known[f"probe_{number}"] = decoded(report["value"]) if "value" in report else conditions.RAISED
      except Unreadable as error:
        return f"{source}: {error}"
    elif "proof" not in report or (kind == "prove" and not proven):
      return f"failed: {source}"
  for condition, source in parts.conditions:
    try:
      if not conditions.value(condition, known):
        return f"AssertionError: {source}{_shown(condition, parts, known)}"
    except conditions.CannotEvaluate as error:
      return f"{error}: {source}{_shown(condition, parts, known)}"
  return ""


def _shown(condition: ast.expr, parts: Split, known: dict[str, Any]) -> str:
  numbers = [int(n.id[6:]) for n in ast.walk(condition) if isinstance(n, ast.Name) and n.id.startswith("probe_")]
  return "".join(f"; {parts.steps[n][1]} is {conditions.shown(known[f'probe_{n}'])}" for n in sorted(set(numbers)))


def _inlined(statements: list[ast.stmt]) -> list[ast.stmt]:
  """`def check(candidate): …` and `check(f)` as `candidate = f` and the body, where the body is no more than that."""
  calls = [s for s in statements if _called(s)]
  checks = {
    s.name: s
    for s in statements
    if isinstance(s, ast.FunctionDef)
    and len(s.args.args) == 1
    and not (s.args.kwonlyargs or s.args.vararg or s.args.kwarg or s.decorator_list)
    and any(isinstance(inner, ast.Assert) for inner in s.body)
    and not any(isinstance(inner, ast.Return | ast.Global | ast.Nonlocal) for inner in ast.walk(s))
    and any(_called(call) == s.name for call in calls)
  }
  found: list[ast.stmt] = []
  for statement in statements:
    name = _called(statement)
    if isinstance(statement, ast.FunctionDef) and statement.name in checks:
      continue
    if name not in checks:
      found.append(statement)
      continue
    parameter, given = ast.Name(checks[name].args.args[0].arg, ast.Store()), statement.value.args[0]  # type: ignore[attr-defined]
    found += [ast.fix_missing_locations(ast.Assign([parameter], given)), *checks[name].body]
  return found


def _called(statement: ast.stmt) -> str:
  """The function that a statement calls with one name, and does nothing else; "": none."""
  match statement:
    case ast.Expr(ast.Call(ast.Name(name), [ast.Name()], [])):
      return name
  return ""


def _literals(statements: Iterable[ast.stmt]) -> dict[str, Any]:
  """Values of names that are given to a literal, once."""
  found: dict[str, Any] = {}
  stored = [n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
  for statement in statements:
    match statement:
      case ast.Assign([ast.Name(name)], value) if stored.count(name) == 1:
        try:
          found[name] = ast.literal_eval(value)
        except (ValueError, TypeError):
          continue
  return found


def _names(sources: Iterable[str]) -> set[str]:
  return {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


class _Splitter:
  """Goes through the statements of a test. Args: literals: names that are known outside."""

  def __init__(self, statements: list[ast.stmt], literals: frozenset[str]):
    self._statements, self._literals = statements, literals
    self._steps: list[Step] = []
    self._conditions: list[tuple[ast.expr, str]] = []
    self._helpers = {s.name for s in statements if isinstance(s, ast.FunctionDef | ast.ClassDef)}
    top = {s for s in statements if isinstance(s, ast.Assert)}
    self._nested = any(isinstance(n, ast.Assert) and n not in top for s in statements for n in ast.walk(s))

  def split(self) -> Split:
    for statement in self._statements:
      if isinstance(statement, ast.Assert):
        self._assertion(statement)
      elif not (isinstance(statement, ast.Assign) and _literals([statement]).keys() & self._literals):
        self._steps.append(("prove" if self._nested else "run", ast.unparse(statement)))
    inside = any(kind == "prove" for kind, _ in self._steps)
    return Split(tuple(self._steps), tuple(self._conditions), {}, inside)

  def _assertion(self, statement: ast.Assert) -> None:
    before = len(self._steps)
    condition = self._outside(statement.test)
    probes = self._steps[before:]
    # Without a comparison the answer is known: it is true. A helper of the test then must say so inside.
    open_answer = any(isinstance(node, ast.Compare) for node in ast.walk(condition))
    if not probes or not (open_answer or not _names(source for _, source in probes) & self._helpers):
      self._steps[before:] = [("prove", ast.unparse(statement))]
    else:
      self._conditions.append((condition, ast.unparse(statement)))

  def _outside(self, node: ast.expr) -> ast.expr:
    """The expression with what only the program can tell replaced by names of values."""
    match node:
      case ast.Constant():
        return node
      case ast.Name(name) if name in self._literals:
        return node
      case ast.Compare(left, operators, others) if conditions.may_compare(operators, others):
        return ast.Compare(self._outside(left), operators, [self._outside(other) for other in others])
      case ast.BoolOp(operator, values):
        return ast.BoolOp(operator, [self._outside(value) for value in values])
      case ast.UnaryOp(operator, operand):
        return ast.UnaryOp(operator, self._outside(operand))
      case ast.BinOp(left, operator, right) if type(operator) in conditions.OPERATORS:
        return ast.BinOp(self._outside(left), operator, self._outside(right))
      case ast.Tuple(items) | ast.List(items) | ast.Set(items) if not _starred(items):
        return type(node)(elts=[self._outside(item) for item in items])
      case ast.Dict(keys, values) if None not in keys:
        return ast.Dict([self._outside(key) for key in keys if key], [self._outside(value) for value in values])
      case ast.Call(function, arguments, keywords) if conditions.judges(node) and not _starred(arguments):
        named = [ast.keyword(keyword.arg, self._outside(keyword.value)) for keyword in keywords]
        return ast.Call(function, [self._outside(argument) for argument in arguments], named)
      case ast.Call(_, arguments) if conditions.makes(node) and all(map(self._is_literal, arguments)):
        return node
    self._steps.append(("value", ast.unparse(node)))
    return ast.Name(f"probe_{len(self._steps) - 1}", ast.Load())

  def _is_literal(self, node: ast.expr) -> bool:
    match node:
      case ast.Constant():
        return True
      case ast.Name(name):
        return name in self._literals
      case ast.UnaryOp(_, operand):
        return self._is_literal(operand)
      case ast.Tuple(items) | ast.List(items) | ast.Set(items):
        return all(map(self._is_literal, items))
      case ast.Dict(keys, values):
        return all(key is not None and self._is_literal(key) for key in keys) and all(map(self._is_literal, values))
      case ast.Call(_, arguments):
        return conditions.makes(node) and all(map(self._is_literal, arguments))
    return False


def _starred(items: Iterable[ast.expr]) -> bool:
  return any(isinstance(item, ast.Starred) for item in items)
