"""Search for what can run text as code in a function and in all that it calls, by the source."""

from __future__ import annotations

import ast
import builtins
import collections
import functools
import importlib
import inspect
import types
from pathlib import Path

NAMES = {"eval", "exec", "compile", "__import__", "globals", "locals", "vars", "getattr", "setattr", "delattr", "open"}
BUILTINS = {getattr(builtins, name) for name in NAMES}
DATA = {
  *("_heapq", "abc", "builtins", "calendar", "collections", "copy", "csv", "datetime", "decimal", "enum", "fractions"),
  *("functools", "itertools", "json", "math", "numpy", "random", "re", "string", "typing", "magiccube", "zss"),
}
"""Packages whose functions take text as data. Any other package counts as one that may run it: SymPy does."""
FILES = {
  f"numpy.{name}" for name in ("fromfile", "fromregex", "genfromtxt", "load", "loadtxt", "memmap", "save", "savetxt")
}
"""Functions of those packages that open a file by its name."""


class Search:
  """A walk over functions of a package, as far as the source says which are called.

  A method of an unknown object counts for all classes that the walk has met, and a class for all its special methods.
  Of `owner`, a data set, the special methods that make problems do not count.
  """

  def __init__(self, owner, package):
    self.package = package
    self.found = set()
    self._pending, self._seen = [], set()
    self._classes, self._attributes = {owner}, set()

  def visit(self, function):
    """Find evaluators in a function and in all that it calls."""
    self._pending.append(function)
    while self._pending:
      function = inspect.unwrap(self._pending.pop())
      # Methods of Python's own classes are harmless, and those that a dataclass makes have no source.
      is_here = inspect.isfunction(function) and (function.__module__ or "").startswith(self.package)
      if is_here and function.__code__ not in self._seen and function.__code__.co_filename != "<string>":
        self._seen.add(function.__code__)
        self._read(function)

  def meet(self, kind):
    """Take a class for one that the functions use."""
    if kind in self._classes or not kind.__module__.startswith(self.package):
      return
    self._classes.add(kind)
    names = {name for base in kind.__mro__ for name in vars(base) if name.startswith("__")} | self._attributes
    self._pending += [method for name in names for method in _methods(kind, name)]

  def _read(self, function):
    tree = _functions(function.__code__.co_filename)[function.__code__.co_firstlineno]
    known = {**function.__globals__, **_enclosed(function), **_imported(tree, function.__globals__)}
    texts = _texts(tree, known)
    for node in _run(tree):
      if isinstance(node, ast.Name | ast.Attribute):
        for value in _within(_value(node, known)):
          self._use(function, node, value)
      if isinstance(node, ast.Attribute) and node.attr not in self._attributes:
        self._attributes.add(node.attr)
        self._pending += [method for kind in self._classes for method in _methods(kind, node.attr)]
      if isinstance(node, ast.Call) and _is_template(node, known, texts):
        self.found.add((function.__qualname__, ast.unparse(node.func)))

  def _use(self, function, node, value):
    if _evaluates(value, self.package):
      self.found.add((function.__qualname__, ast.unparse(node)))
    elif inspect.isclass(value):
      self.meet(value)
    elif isinstance(inspect.unwrap(value), types.FunctionType) and value.__module__.startswith(self.package):
      self._pending.append(value)


def evaluators(owner, package="reasoning_gym"):
  """{(function, name)}: evaluators that `owner.score_answer` uses, itself or in what it calls."""
  search = Search(owner, package)
  for function in (owner.score_answer, owner.__init__):  # which may keep functions
    search.visit(function)
  return search.found


@functools.cache
def _functions(path):
  """First line -> function of a file, by its syntax."""
  nodes = ast.walk(ast.parse(Path(path).read_text()))
  functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
  return {min(n.lineno for n in [node, *getattr(node, "decorator_list", [])]): node for node in reversed(functions)}


def _run(tree):
  """Nodes of a function that its call runs: all but its decorators and the types of its arguments."""
  body = [tree.body] if isinstance(tree, ast.Lambda) else tree.body
  return (node for statement in body for node in ast.walk(statement))


def _enclosed(function):
  """Names of the functions around this one that it uses."""
  cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=False)
  return {name: cell.cell_contents for name, cell in cells}


def _imported(tree, known):
  """Names that imports within a function define."""
  names = {}
  for node in ast.walk(tree):
    if isinstance(node, ast.Import):
      names |= {(a.asname or a.name).split(".")[0]: importlib.import_module(a.name.split(".")[0]) for a in node.names}
    elif isinstance(node, ast.ImportFrom):
      module = importlib.import_module("." * node.level + (node.module or ""), known.get("__package__"))
      names |= {alias.asname or alias.name: getattr(module, alias.name, module) for alias in node.names}
  return names


def _texts(tree, known):
  """Names whose value is a text of the source: global ones, and those that are only ever given a constant."""
  nodes = list(ast.walk(tree))
  given = collections.Counter(n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store))
  given.update(n.arg for n in nodes if isinstance(n, ast.arg))
  assigned = [n for n in nodes if isinstance(n, ast.Assign) and isinstance(n.value, ast.Constant)]
  constant = collections.Counter(n.id for a in assigned for n in a.targets if isinstance(n, ast.Name))
  return {n for n, v in known.items() if isinstance(v, str)} | {n for n in constant if constant[n] == given[n]}


def _value(node, known):
  """The object that a dotted name stands for, as far as modules and classes go; else None."""
  if isinstance(node, ast.Name):
    return known.get(node.id, getattr(builtins, node.id, None))
  if isinstance(node, ast.Attribute):
    value = _value(node.value, known)
    if isinstance(value, types.ModuleType) or inspect.isclass(value):
      return getattr(value, node.attr, None)
  return None


def _within(value, depth=3):
  """The value, or the values of a table of them."""
  if depth and isinstance(value, dict | list | tuple | set | frozenset):
    inner = value.values() if isinstance(value, dict) else value
    return [found for item in inner for found in _within(item, depth - 1)]
  return [value.func if isinstance(value, functools.partial) else value]


def _evaluates(value, package):
  if not callable(value):
    return False
  if inspect.isbuiltin(value) and value in BUILTINS:
    return True
  module = getattr(value, "__module__", None) or type(value).__module__
  top = module.split(".")[0]
  return not module.startswith(package) and (top not in DATA or f"{top}.{getattr(value, '__name__', '')}" in FILES)


def _is_template(call, known, texts):
  """Return whether a pattern or format is not the source's own: another may take exponential time or show fields."""
  function = call.func
  if isinstance(function, ast.Attribute) and function.attr in ("format", "format_map"):
    template = function.value
  elif getattr(_value(function, known), "__module__", None) == "re" and call.args:
    template = call.args[0]
  else:
    return False
  return not (isinstance(template, ast.Constant) or ast.unparse(template) in texts)


def _methods(kind, name):
  """Functions of the class `kind` under a name, bare or in a property, class or static method."""
  for base in kind.__mro__:
    value = vars(base).get(name)
    value = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
    if inspect.isfunction(value):
      yield value
