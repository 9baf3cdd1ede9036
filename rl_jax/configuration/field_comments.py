"""Comments on the fields of a config, read where their defaults stand: beside a key, above it, or in a docstring."""

from __future__ import annotations

import ast
import functools
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from rl_jax.configuration.parts import source


def comments_of(part: Any) -> dict[str, str]:
  """Comments on the fields of a part by dotted name: its own, then those of the modules that it takes defaults from."""
  found: dict[str, str] = {}
  for module in _modules(part):
    found = {**comments(module), **found}
  return found


def _modules(part: Any) -> Iterator[str]:
  """Source texts of a part and of what it imports that has defaults, the nearest first."""
  waiting, seen = [part], set[int]()
  while waiting:
    current = waiting.pop(0)
    if id(current) in seen:
      continue
    seen.add(id(current))
    yield source(current)
    module = current if isinstance(current, ModuleType) else inspect.getmodule(current)
    named = vars(module).values() if module is not None else ()
    own = lambda value: getattr(value, "__name__", "").startswith("rl_jax.")
    waiting += [value for value in named if isinstance(value, ModuleType) and own(value)]
    waiting += [value for value in named if isinstance(value, type) and value.__module__.startswith("rl_jax.models")]


@functools.cache
def comments(text: str) -> dict[str, str]:
  """Comments on the keys of all dictionaries written out in a source text, and on the attributes of its classes.

  A key of a dictionary inside another has both names: {"a": {"b": 1}} has "a.b". The first of a name counts.

  >>> comments('DEFAULTS = {"rate": 0.1,  # of learning\\n}')
  {'rate': 'of learning'}
  """
  tree, lines = ast.parse(text), _comment_lines(text)
  found: dict[str, str] = {}
  inner = {id(value) for node in ast.walk(tree) if isinstance(node, ast.Dict) for value in node.values}
  for node in ast.walk(tree):
    if isinstance(node, ast.Dict) and id(node) not in inner:
      for name, comment in _of_keys(node, lines, ""):
        found.setdefault(name, comment)
    if isinstance(node, ast.ClassDef):
      for name, comment in _of_attributes(ast.get_docstring(node) or ""):
        found.setdefault(name, comment)
  return found


class _Comment(str):
  """Text of a comment; `alone` if nothing else is on its line."""

  alone: bool = False


def _comment_lines(text: str) -> dict[int, _Comment]:
  """Comments by line number."""
  found: dict[int, _Comment] = {}
  for token in tokenize.generate_tokens(io.StringIO(text).readline):
    if token.type == tokenize.COMMENT:
      comment = _Comment(token.string.lstrip("#").strip())
      comment.alone = not token.line[: token.start[1]].strip()
      found[token.start[0]] = comment
  return found


def _of_keys(node: ast.Dict, lines: Mapping[int, _Comment], prefix: str) -> Iterator[tuple[str, str]]:
  for key, value in zip(node.keys, node.values, strict=True):
    if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
      continue
    name, first = f"{prefix}{key.value}", key.lineno
    beside = lines.get(first if isinstance(value, ast.Dict) else (value.end_lineno or first))
    above: list[str] = []
    while (comment := lines.get(first - 1 - len(above))) is not None and comment.alone:
      above.insert(0, comment)
    if (beside and not beside.alone) or above:
      yield name, " ".join([*above, *([beside] if beside else [])])
    if isinstance(value, ast.Dict):
      yield from _of_keys(value, lines, f"{name}.")


def _of_attributes(docstring: str) -> Iterator[tuple[str, str]]:
  """Names and texts of the block "Attributes:" of a class; several names with commas share one."""
  block = re.search(r"^Attributes:\n((?:[ \t]+.*\n?|\n)+)", docstring, re.MULTILINE)
  for entry in re.split(r"\n(?=\S)", textwrap.dedent(block[1])) if block else ():
    names, colon, text = entry.partition(":")
    if colon and re.fullmatch(r"\w+(, \w+)*", names):
      for name in names.split(", "):
        yield name, " ".join(text.split())
