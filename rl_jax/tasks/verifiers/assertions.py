"""Tests written as Python code, split so that expected values stay outside of the program's interpreter.

`assert CALL == LITERAL` becomes a step that reports the value of CALL, and a condition on it that is evaluated here.
So do other comparisons of one expression of the program with literals, `assert CALL` of a function of its own, `and`,
`not`, `abs(CALL - LITERAL) < LITERAL`, `math.isclose(CALL, LITERAL)` and `all([…])` of such, several assertions in a
row, names for literals, and `def check(candidate)` with `check(f)`. Expected values then never reach the program, which
can gain no more than a wrong function could.
Anything else has to run inside, where a program written to deceive its judge can make it pass: a comparison of two
expressions, one with an object or a constant of a module, a helper of the test, a comparison in a loop.
"""

from __future__ import annotations

import ast
import builtins
import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from rl_jax.tasks.verifiers import conditions
from rl_jax.tasks.verifiers.isolation.driver import Step
from rl_jax.tasks.verifiers.values import Unreadable, decoded


class Split(NamedTuple):
  """Parts of a test.

  Attributes:
    steps: steps run in order after the program.
    conditions: expressions on the values that steps report (`probe_<number of the step>`) and on `constants`, each with
      the assertion that it belongs to.
    constants: values of names that the test gives to literals.
    inside: whether a part of it has to run inside.
  """

  steps: tuple[Step, ...]
  conditions: tuple[tuple[ast.expr, str], ...]
  constants: dict[str, Any]
  inside: bool


@functools.lru_cache(maxsize=4096)
def split(test: str) -> Split:
  """Split a test. Text that is not Python runs inside, and fails there."""
  unsplit = Split((("prove", test),), (), {}, True)
  try:
    statements = _inlined(ast.parse(test).body)
    literals = _literals(statements)
    while True:
      parts = _Splitter(statements, frozenset(literals)).split()
      changed = literals.keys() & _names(source for kind, source in parts.steps)
      if not changed:  # a name that is used inside may be changed there
        break
      literals = {name: value for name, value in literals.items() if name not in changed}
  except (SyntaxError, ValueError, RecursionError, MemoryError):
    return unsplit
  if not any(isinstance(statement, ast.Assert) for statement in statements):
    return unsplit
  return parts._replace(constants=literals)


def failure(parts: Split, frames: Sequence[dict[str, Any]], proven: bool) -> str:
  """Reason why a test has not passed, in one line; "" if it has.

  Args:
    frames: reports of its steps.
    proven: whether the assertions that ran inside have passed.
  """
  reports = [frame for frame in frames if "ready" not in frame]
  if len(reports) < len(parts.steps):
    return "the program or the test has ended too early"
  values = dict(parts.constants)
  for number, ((kind, source), report) in enumerate(zip(parts.steps, reports, strict=False)):
    if kind == "value":
      try:
        values[f"probe_{number}"] = decoded(report["value"]) if "value" in report else conditions.RAISED
      except Unreadable as error:
        return f"{source}: {error}"
    elif "proof" not in report or (kind == "prove" and not proven):
      return f"failed: {source}"
  for condition, source in parts.conditions:
    try:
      if not conditions.value(condition, values):
        return f"AssertionError: {source}{_shown(condition, parts, values)}"
    except conditions.CannotEvaluate as error:
      return f"{error}: {source}{_shown(condition, parts, values)}"
  return ""


def _shown(condition: ast.expr, parts: Split, values: dict[str, Any]) -> str:
  numbers = [int(n.id[6:]) for n in ast.walk(condition) if isinstance(n, ast.Name) and n.id.startswith("probe_")]
  return "".join(f"; {parts.steps[n][1]} is {conditions.shown(values[f'probe_{n}'])}" for n in sorted(set(numbers)))


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
  inlined: list[ast.stmt] = []
  for statement in statements:
    name = _called(statement)
    if isinstance(statement, ast.FunctionDef) and statement.name in checks:
      continue
    if name not in checks:
      inlined.append(statement)
      continue
    parameter, value = ast.Name(checks[name].args.args[0].arg, ast.Store()), statement.value.args[0]  # type: ignore[attr-defined]
    inlined += [ast.fix_missing_locations(ast.Assign([parameter], value)), *checks[name].body]
  return inlined


def _called(statement: ast.stmt) -> str:
  """The function that a statement calls with one name, and does nothing else; "": none."""
  match statement:
    case ast.Expr(ast.Call(ast.Name(name), [ast.Name()], [])):
      return name
  return ""


def _literals(statements: Iterable[ast.stmt]) -> dict[str, Any]:
  """Values of names that are given to a literal, once."""
  literals: dict[str, Any] = {}
  stored = [n.id for s in statements for n in ast.walk(s) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
  for statement in statements:
    match statement:
      case ast.Assign([ast.Name(name)], value) if stored.count(name) == 1:
        try:
          literals[name] = ast.literal_eval(value)
        except (ValueError, TypeError):
          continue
  return literals


def _names(sources: Iterable[str]) -> set[str]:
  return {node.id for source in sources for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


class _Splitter:
  """Visitor of the statements of a test. Args: literals: names that are known outside."""

  def __init__(self, statements: list[ast.stmt], literals: frozenset[str]):
    self._statements, self._literals = statements, literals
    self._steps: list[Step] = []
    self._conditions: list[tuple[ast.expr, str]] = []
    self._own = _made_by(statements)
    top = {s for s in statements if isinstance(s, ast.Assert)}
    self._nested = any(isinstance(n, ast.Assert) and n not in top for s in statements for n in ast.walk(s))

  def split(self) -> Split:
    names = [n for s in self._statements for n in ast.walk(s) if isinstance(n, ast.Name)]
    loaded = {name.id for name in names if isinstance(name.ctx, ast.Load)}
    for statement in self._statements:
      stored = _literals([statement]).keys() & self._literals if isinstance(statement, ast.Assign) else set()
      if isinstance(statement, ast.Assert):
        self._assertion(statement)
      elif not stored or not stored & loaded:  # a name that the test does not read is meant for the program
        self._steps.append(("prove" if self._nested else "run", ast.unparse(statement)))
    inside = any(kind == "prove" for kind, _ in self._steps)
    return Split(tuple(self._steps), tuple(self._conditions), {}, inside)

  def _assertion(self, statement: ast.Assert) -> None:
    before = len(self._steps)
    condition = self._judged(statement.test)
    if condition is None or len(self._steps) == before:
      self._steps[before:] = [("prove", ast.unparse(statement))]
    else:
      self._conditions.append((condition, ast.unparse(statement)))

  def _judged(self, node: ast.expr) -> ast.expr | None:
    """The truth of an expression on reported values, or None where what is expected would have to run inside."""
    match node:
      case ast.BoolOp(operator, values):
        # The second operand of `or` may have to stay unrun, as in q.pop() == 1 or q.pop() == 2.
        open_ones = sum(not self._is_literal(value) for value in values)
        judged = [self._judged(value) for value in values]
        if None in judged or (isinstance(operator, ast.Or) and open_ones > 1):
          return None
        return ast.BoolOp(operator, [value for value in judged if value is not None])
      case ast.UnaryOp(ast.Not(), operand):
        judged_one = self._judged(operand)
        return None if judged_one is None else ast.UnaryOp(ast.Not(), judged_one)
      case ast.Call(function, [ast.List(items) | ast.Tuple(items)], []) if conditions.judges(node):
        judged = [self._judged(item) for item in items]
        if None in judged:
          return None
        return ast.Call(function, [ast.List([item for item in judged if item is not None])], [])
      case ast.Call(function, arguments, keywords) if conditions.name(node) == "math.isclose":
        literal_keywords = all(keyword.arg and self._is_literal(keyword.value) for keyword in keywords)
        operands = self._operands(arguments)
        return ast.Call(function, operands, keywords) if operands and literal_keywords else None
      case ast.Compare(left, operators, others) if conditions.may_compare(operators, others):
        containers = [b for o, b in zip(operators, others, strict=True) if isinstance(o, ast.In | ast.NotIn)]
        if not all(map(self._is_literal, containers)):  # they may be objects of the program
          return None
        operands = self._operands([left, *others])
        return ast.Compare(operands[0], operators, operands[1:]) if operands else None
      case ast.Call() if self._says_yes_or_no(node):
        return self._probe(node)
      case _ if self._is_literal(node):
        return node
    return None

  def _operands(self, nodes: Sequence[ast.expr]) -> list[ast.expr]:
    """The operands of a comparison, one of which the program tells; none where it would tell two of them, or what is
    expected too."""
    before = len(self._steps)
    outside = [self._outside(node) for node in nodes]
    probed = [ast.parse(source, mode="eval").body for _, source in self._steps[before:]]
    open_ones = sum(not self._is_literal(node) for node in nodes)
    return outside if open_ones == 1 and all(map(self._is_told, probed)) else []

  def _is_told(self, node: ast.expr) -> bool:
    """Return whether a program that reports any value tells no more than a wrong function could: nothing in the
    expression holds the expected value."""
    return not any(map(self._hides, ast.walk(node)))

  def _hides(self, part: ast.AST) -> bool:
    """Return whether a part of an expression may hold the expected value: a comparison, a helper of the test, a
    function that answers yes or no, or a literal in a computation, as in f(3) - 4 == 0 and {4: True}[f(3)]."""
    match part:
      case ast.Name(name):
        return name in self._own or name in _ANSWERING
      case ast.BinOp(left, _, right):
        return self._is_literal(left) != self._is_literal(right)
      case ast.Attribute(whole, name):
        return self._is_literal(whole) or name.startswith("__")
      case ast.Subscript(whole, _):
        return self._is_literal(whole)
    return isinstance(part, _HIDING)

  def _says_yes_or_no(self, call: ast.Call) -> bool:
    """Return whether the truth of a call is the program's answer: its function is neither Python's nor the test's."""
    root = call.func
    while isinstance(root, ast.Attribute | ast.Subscript | ast.Call):
      root = root.func if isinstance(root, ast.Call) else root.value
    is_known = bool(self._own) or not isinstance(root, ast.Name) or root.id in vars(builtins)
    return not is_known and self._is_told(call)

  def _outside(self, node: ast.expr) -> ast.expr:
    """The operand with what only the program can tell replaced by names of values."""
    if self._is_literal(node):
      return node
    match node:
      case ast.Tuple(items) | ast.List(items) if not _starred(items):
        return type(node)(elts=[self._outside(item) for item in items])
      case ast.Call(ast.Name("abs") as function, [ast.BinOp(left, ast.Sub() as minus, right)], []):
        if self._is_literal(left) != self._is_literal(right):
          return ast.Call(function, [ast.BinOp(self._outside(left), minus, self._outside(right))], [])
    return self._probe(node)

  def _probe(self, node: ast.expr) -> ast.expr:
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
      case ast.BinOp(left, operator, right) if type(operator) in conditions.OPERATORS:
        is_text = isinstance(left, ast.Constant) and isinstance(left.value, str | bytes)  # a format, with % behind it
        return not is_text and self._is_literal(left) and self._is_literal(right)
      case ast.Tuple(items) | ast.List(items) | ast.Set(items):
        return all(map(self._is_literal, items))
      case ast.Dict(keys, values):
        return all(key is not None and self._is_literal(key) for key in keys) and all(map(self._is_literal, values))
      case ast.Call(_, arguments):
        return conditions.makes(node) and all(map(self._is_literal, arguments))
    return False


_HIDING = (
  ast.Compare, ast.BoolOp, ast.IfExp, ast.Lambda, ast.NamedExpr, ast.ListComp, ast.SetComp, ast.DictComp,
  ast.GeneratorExp, ast.JoinedStr, ast.Starred,
)  # fmt: skip
"""Expressions that may hold the expected value."""
_ANSWERING = frozenset({"all", "any", "bool", "callable", "eval", "exec", "hasattr", "isinstance", "issubclass"})
"""Functions of Python that answer yes or no."""


def _made_by(statements: Iterable[ast.stmt]) -> set[str]:
  """Names defined by a test's own code: its functions, classes and modules, values computed from them or from a
  comparison, and everything that it sets in loops, branches and counts."""
  owned: set[str] = set()
  for statement in statements:
    nodes = [*ast.walk(statement)]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    owned |= {node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)}
    owned |= {
      (alias.asname or alias.name).partition(".")[0]
      for node in nodes
      if isinstance(node, ast.Import | ast.ImportFrom)
      for alias in node.names
    }
    is_plain = isinstance(statement, ast.Assign | ast.AnnAssign | ast.Expr | ast.Assert)
    is_made = any(isinstance(node, _HIDING) for node in nodes) or any(name.id in owned for name in names)
    if not is_plain or is_made:
      owned |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
  return owned


def _starred(items: Iterable[ast.expr]) -> bool:
  return any(isinstance(item, ast.Starred) for item in items)
