"""Locations in users' code: file and line of an exception or of a function."""

from __future__ import annotations

import functools
import inspect
import sysconfig
import traceback
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

_PACKAGE = Path(__file__).parents[1]
_NOT_THE_USERS = (
  _PACKAGE,
  *((_PACKAGE / name).resolve() for name in ("kernels", "experiments")),  # links, in a checkout
  *(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib")),
)
_TRACED = (
  "its value is not known while the function is compiled: use jnp.where, jax.lax.cond and functions of jnp in place of "
  "if, while, float() and NumPy"
)
_ADVICE = {
  "ConcretizationTypeError": _TRACED,
  "TracerArrayConversionError": _TRACED,
  "TracerBoolConversionError": _TRACED,
  "TracerIntegerConversionError": _TRACED,
  "SystemExit": "it asks to end the program: raise an error that says why instead",
}
"""Explanations of errors by type name, since this module is also imported without JAX."""
_LONGEST_LINE = 500


def place_of(error: BaseException, function: Callable[..., Any] | None = None) -> str | None:
  """Innermost line of a user's code that an exception passed through, "FILE, line N"; None if there is none.

  Args:
    function: a user's function. Its definition is the place if the exception passed through none of its lines, for
      example because it takes other arguments.
  """
  if isinstance(error, SyntaxError) and error.filename and _is_users(error.filename):
    return f"{_shown(error.filename)}, line {error.lineno}"
  lines = [(frame.f_code.co_filename, line) for frame, line in traceback.walk_tb(error.__traceback__)]
  if function is not None and (code := _code_of(function)):
    lines.insert(0, (code.co_filename, code.co_firstlineno))
  return next((f"{_shown(file)}, line {line}" for file, line in reversed(lines) if _is_users(file)), None)


def place_of_function(function: Callable[..., Any]) -> str:
  """Place of a function's definition, "FILE, line N", or its name if the place is unknown."""
  code = _code_of(function)
  return f"{_shown(code.co_filename)}, line {code.co_firstlineno}" if code else repr(function)


def place_of_raise(error: BaseException) -> str | None:
  """Place of the line that raised an exception, "FILE, line N", if it is in a user's code; else None."""
  frames = list(traceback.walk_tb(error.__traceback__))
  if not frames or not _is_users(frames[-1][0].f_code.co_filename):
    return None
  frame, line = frames[-1]
  return f"{_shown(frame.f_code.co_filename)}, line {line}"


def one_line(error: BaseException) -> str:
  """Type and text of an exception, with advice for known ones."""
  name = type(error).__name__
  if isinstance(error, SyntaxError):
    return f"{name}: {error.msg}" + (f": {error.text.strip()}" if error.text else "")
  try:
    text = str(error)
  except Exception:  # the text of a user's exception is a user's code too
    text = "an exception without a text"
  if name in _ADVICE:  # later lines only repeat the first
    return ": ".join(filter(None, (name, text.partition("\n")[0].rstrip("."), _ADVICE[name])))
  return ": ".join(filter(None, (name, joined(text))))


def joined(text: str) -> str:
  """The lines of a text joined into one, cut if long.

  >>> joined("a\\n\\n  b")
  'a; b'
  """
  line = "; ".join(filter(None, map(str.strip, text.splitlines())))
  return line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]} …"


def _code_of(function: Callable[..., Any]) -> types.CodeType | None:
  """Code of a function without its wrappers, or of an object's `__call__`."""
  while isinstance(function, functools.partial):
    function = function.func
  function = inspect.unwrap(function)
  return getattr(function, "__code__", None) or getattr(type(function).__call__, "__code__", None)


def _is_users(file: str) -> bool:
  path = Path(file)
  return path.is_file() and not any(path.is_relative_to(folder) for folder in _NOT_THE_USERS)


def _shown(file: str) -> str:
  """Path relative to the current folder, if it is below."""
  path = Path(file)
  return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
