"""User-facing error in reading a pretrained model: printed as one line, without a traceback."""

from __future__ import annotations

import contextlib
import importlib
import reprlib
from collections.abc import Iterator
from typing import Any

from rl_jax.errors import UserError

LONGEST = 1000
"""Characters of a message: a file may hold a name of any length."""
_LONGEST_REASON = 200

_values = reprlib.Repr()
_values.maxstring = _values.maxother = _values.maxlong = 80


class ModelFileError(UserError, ValueError):
  """A model that is missing or does not fit: the message says which file was looked for where, and what to do.

  The message is not long, whatever the file holds.
  """

  def __init__(self, message: str):
    super().__init__(message if len(message) <= LONGEST else f"{message[: LONGEST - 1]}…")


def shown(value: Any) -> str:
  """The `repr` of a value of a file, shortened."""
  return _values.repr(value)


def reason(error: BaseException) -> str:
  """The first line of another package's error, shortened."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0] if len(lines[0]) <= _LONGEST_REASON else f"{lines[0][: _LONGEST_REASON - 1]}…"


@contextlib.contextmanager
def one_line(what: str) -> Iterator[None]:
  """Calls into the package tokenizers, which raises bare Exception, and BaseException where its Rust panics.

  Raises: ModelFileError: `what`, and the first line of any error.
  """
  try:
    yield
  except (KeyboardInterrupt, SystemExit, ModelFileError):
    raise
  except BaseException as error:
    raise ModelFileError(f"{what}: {reason(error)}") from error


def package(name: str) -> Any:
  """A package that only pretrained models need.

  Raises: ModelFileError: it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise ModelFileError(
      f"pretrained models need the package {error.name!r}: install it with pip install 'rl-jax[tasks]'"
    ) from error
