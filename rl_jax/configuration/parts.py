"""Python code by name: a dotted path, a file, or an object itself; and its source text."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib
import importlib.util
import inspect
import os
import pkgutil
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any

from rl_jax.errors import UserError
from rl_jax.inputs.users_code import place_of

_TEXT = "__source_text__"  # the source that was run: the file may have changed since


_MOST_MEANT = 3


def meant(name: str, known: Iterable[str]) -> list[str]:
  """Known names that an unknown name may stand for. In this order: the same letters in another order; the same first
  words; nearly the same name; names of which it is a part, as 'reward' of 'held_out/reward'; names that begin with it;
  a similar name."""
  known = sorted(set(known))
  reordered = [other for other in known if sorted(other) == sorted(name)]
  alike = lambda cutoff: difflib.get_close_matches(name, known, n=1, cutoff=cutoff)
  holding = [other for other in known if name in other.split("/")]
  begun = lambda start: [other for other in known if name and other.startswith(start)]
  return (reordered or begun(f"{name}_") or alike(0.8) or holding or begun(name) or alike(0.6))[:_MOST_MEANT]


def nearest(name: str, known: Iterable[str]) -> str:
  """Suggestion ' did you mean …?', or the known names; empty if there are none."""
  known = sorted(set(known))
  if names := meant(name, known):
    return _question(names)
  return f" (known: {', '.join(known[:20])}{', …' if len(known) > 20 else ''})" if known else ""


def _question(names: list[str]) -> str:
  return f": did you mean {' or '.join(map(repr, names))}?"


EXPERIMENTS = Path(__file__).parents[1] / "experiments"
"""Experiments of this package."""


def experiment_file(name: str) -> str:
  """File of an experiment, by its name in the package ('grpo') or by path.

  Raises: UserError: there is no such experiment.
  """
  return _file_of(name, EXPERIMENTS, "experiment")


def study_file(name: str) -> str:
  """File of a study, by its name in the package ('horizon') or by path."""
  return _file_of(name.removeprefix("studies/"), EXPERIMENTS / "studies", "study")


def _file_of(name: str, folder: Path, kind: str) -> str:
  if name.endswith(".py"):
    name = os.path.expanduser(name)
    # Records name files of a checkout; a wheel keeps experiments elsewhere.
    inside = EXPERIMENTS / name.removeprefix("experiments/")
    return str(inside) if name.startswith("experiments/") and not Path(name).is_file() and inside.is_file() else name
  file = folder / f"{name}.py"
  if re.fullmatch(r"[a-z]\w*", name) and file.is_file():
    return str(file)
  raise UserError(f"no {kind} {name!r}{_advice(name, folder, kind)}")


def _advice(name: str, folder: Path, kind: str) -> str:
  if os.path.isfile(f"{name}.py"):
    return f": did you mean the file '{name}.py'?"
  if os.path.isdir(os.path.expanduser(name)):
    return ": it is a folder; that of a run is given as --workdir"
  other, command = (EXPERIMENTS / "studies", "study") if kind == "experiment" else (EXPERIMENTS, "train")
  if re.fullmatch(r"[a-z]\w*", name) and (other / f"{name}.py").is_file():
    return f": run it with rl-jax {command} {name}"
  experiments = [path.stem for path in folder.glob("[a-z]*.py") if "\ndef get_config(" in path.read_text()]
  return f"{nearest(name, experiments)} (a file of your own ends in .py)"


def parts_of(section: str) -> list[str]:
  """Parts of the package for section "method", "task" or "model", by their names in a config."""
  folder = EXPERIMENTS.parent / f"{section}s"
  is_part = lambda text: "\ndef get_config(" in text and "\ndef build(" in text
  files = [path.relative_to(folder) for path in folder.rglob("[a-z]*.py") if is_part(path.read_text())]
  return sorted(".".join(("rl_jax", f"{section}s", *file.with_suffix("").parts)) for file in files)


def load_file(path: str, known: Iterable[str] = ()) -> ModuleType:
  """Run a Python file as a module. The same content is run only once, so that its classes keep their identity.

  Args:
    known: other names that could have been meant.
  """
  file = Path(os.path.expanduser(path))
  if os.path.isdir(file):  # False, and no error, for any text
    raise UserError(f"{path} is a folder: name a Python file in it")
  if not os.path.isfile(file):
    python_files = [
      str(other.relative_to(".") if not file.is_absolute() else other) for other in file.parent.glob("*.py")
    ]
    alike = difflib.get_close_matches(str(file), python_files, n=1, cutoff=0.6)
    raise UserError(f"no file {path!r}{nearest(str(file), python_files if alike else known or python_files)}")
  content = file.read_bytes()
  digest = hashlib.sha256(str(file.resolve()).encode() + b"\0" + content).hexdigest()[:16]
  name = f"rl_jax_file_{re.sub(r'[^0-9a-zA-Z_]', '_', file.stem)}_{digest}"
  if name in sys.modules:
    return sys.modules[name]
  module = ModuleType(name)
  module.__file__ = str(file.resolve())
  try:
    module.__dict__[_TEXT] = importlib.util.decode_source(content)
  except (SyntaxError, UnicodeDecodeError) as error:
    raise UserError(f"{path} is no Python source: {error}") from error
  code = _compiled(path, content, module.__file__)
  sys.modules[name] = module  # dataclasses look up their module while it runs
  try:
    exec(code, module.__dict__)
  except SystemExit as error:
    del sys.modules[name]
    where = place_of(error) or path
    raise UserError(f"{where} ends the program (SystemExit: {error}): it is a script, not a part to load") from error
  except BaseException:
    del sys.modules[name]
    raise
  return module


def _compiled(path: str, content: bytes, file: str) -> CodeType:
  """Compiled code of a file. The importer is not used: its bytecode cache misses an edit within the same second.

  Raises: UserError: the file is not Python source. A SyntaxError passes through, since it has a line number.
  """
  if b"\0" in content:
    line = content[: content.index(b"\0")].count(b"\n") + 1
    raise UserError(f"{path}, line {line} is no Python source: it holds a null byte; save the file as UTF-8 text")
  try:
    return compile(content, file, "exec")
  except (RecursionError, MemoryError) as error:
    raise UserError(f"{path} cannot be compiled: its expressions are nested too deep ({error})") from error


def _import(path: str) -> ModuleType | None:
  """The module, or None if it does not exist. An error inside an existing module passes through.

  Raises: UserError: its file is not text.
  """
  try:
    return importlib.import_module(path)
  except SyntaxError as error:
    if error.filename or place_of(error):
      raise
    raise UserError(f"module {path!r} is no Python source: {error}; save its file as UTF-8 text") from error
  except ModuleNotFoundError as error:
    if error.name and (path == error.name or path.startswith(error.name + ".")):
      return None
    raise


def _module_names(package: ModuleType) -> list[str]:
  return [f"{package.__name__}.{module.name}" for module in pkgutil.iter_modules(getattr(package, "__path__", []))]


def _attribute(holder: ModuleType, name: str, path: str) -> Any:
  if not hasattr(holder, name):
    public = [other for other in vars(holder) if not other.startswith("_")]
    raise UserError(f"{path!r}: there is no {name!r} in it{nearest(name, public)}")
  return getattr(holder, name)


def load(name: str, section: str = "", short: Iterable[str] = ()) -> Any:
  """Load 'package.module', 'package.module:Name', 'package.module.Name', 'file.py' or 'file.py:Name'.

  Args:
    section: section of a config that names it, whose parts are listed if nothing is found.
    short: names that this section has for some of them.
  """
  known = [*short, *parts_of(section)] if section else []
  file = re.fullmatch(r"(.+\.py)(?::(\w+))?", name)
  if file:
    module = load_file(file[1], known)
    return _attribute(module, file[2], name) if file[2] else module
  path, _, attribute = name.partition(":")
  if not re.fullmatch(r"\w+(\.\w+)*", path):
    raise UserError(f"{name!r} is not Python code: write 'package.module', 'package.module:Name' or 'file.py:Name'")
  imported = _import(path)
  if imported is not None:
    return _attribute(imported, attribute, name) if attribute else imported
  parent_path, _, last = path.rpartition(".")
  parent = _import(parent_path) if parent_path else None
  if parent is not None and not attribute and hasattr(parent, last):
    return getattr(parent, last)
  while parent is None and parent_path:
    parent_path = parent_path.rpartition(".")[0]
    parent = _import(parent_path) if parent_path else None
  module_names = _module_names(parent) if parent is not None else []
  if known and "." not in path:
    advice = _nearest_part(path, known)
  else:
    advice = nearest(path, module_names) or ": is its folder the current one, or on PYTHONPATH?"
  raise UserError(f"no module {path!r}{advice}")


def _nearest_part(word: str, known: list[str]) -> str:
  """Suggestion of names that a word may stand for, by their last parts."""
  by_word = {name.rpartition(".")[2] if name.startswith("rl_jax.") else name: name for name in reversed(known)}
  names = [by_word[name] for name in meant(word, by_word)]
  return _question(names) if names else nearest("", known)


def name_of(value: Any) -> str:
  """Name of an object in a record: module, or module:Name."""
  if isinstance(value, ModuleType):
    return value.__name__
  definition = _named(value)
  return f"{definition.__module__}:{definition.__qualname__}"


def _named(value: Any) -> Any:
  """Module, class or function that defines a value; for a namespace, that of its function `build`."""
  if isinstance(value, SimpleNamespace):
    return value.build
  return value if isinstance(value, ModuleType) or hasattr(value, "__qualname__") else type(value)


def source(value: Any) -> str:
  """Source of the file that defines `value`, or of the class or its functions if they are in a notebook."""
  origin = _named(value)
  module = inspect.getmodule(origin)
  if module is not None and hasattr(module, _TEXT):
    return getattr(module, _TEXT)
  if module is not None and getattr(module, "__file__", None) and module.__name__ != "__main__":
    origin = module
  # A notebook keeps the source of functions, but not always that of classes.
  holds = isinstance(value, SimpleNamespace) and origin is not module
  for read, target in ((_functions, value),) if holds else ((inspect.getsource, origin), (_functions, origin)):
    with contextlib.suppress(OSError, TypeError):
      return read(target)
  raise UserError(f"the source of {name_of(value)} cannot be read: define it in a file, so that the run can record it")


def _functions(holder: Any) -> str:
  """Source of the functions in a class or namespace; TypeError if there are none."""
  functions = [f for f in map(_plain, vars(holder).values()) if inspect.isfunction(f)]
  if not functions:
    raise TypeError(f"{holder!r} holds no functions")
  return "\n\n".join(inspect.getsource(function) for function in functions)


def _plain(value: Any) -> Any:
  return value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
