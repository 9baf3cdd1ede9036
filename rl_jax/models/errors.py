"""User-facing error in reading a pretrained model: printed as one line, without a traceback."""

from __future__ import annotations

import contextlib
import importlib
import reprlib
from collections.abc import Iterator
from typing import Any

from rl_jax.errors import UserError

LONGEST = 1000
"""Largest number of characters of a message, since names in a file may have any length."""
_LONGEST_REASON = 200

_values = reprlib.Repr()
_values.maxstring = _values.maxother = _values.maxlong = 80


class ModelFileError(UserError, ValueError):
  """Error of a model that is missing or does not fit; the message names the file and what to do.

  Its length is limited, whatever the file contains.
  """

  def __init__(self, message: str):
    super().__init__(message if len(message) <= LONGEST else f"{message[: LONGEST - 1]}…")


def shown(value: Any) -> str:
  """Shortened `repr` of a value from a file."""
  return _values.repr(value)


def reason(error: BaseException) -> str:
  """Shortened first line of another package's error."""
  lines = str(error).strip().splitlines() or [type(error).__name__]
  return lines[0] if len(lines[0]) <= _LONGEST_REASON else f"{lines[0][: _LONGEST_REASON - 1]}…"


@contextlib.contextmanager
def one_line(what: str) -> Iterator[None]:
  """Context for calls of the package tokenizers, which raises bare Exception, and BaseException if its Rust code
  panics.

  Raises: ModelFileError: `what`, and the first line of any error.
  """
  try:
    yield
  except (KeyboardInterrupt, SystemExit, ModelFileError):
    raise
  except BaseException as error:
    raise ModelFileError(f"{what}: {reason(error)}") from error


def package(name: str) -> Any:
  """Import a package that only pretrained models need.

  Raises: ModelFileError: it is not installed.
  """
  try:
    return importlib.import_module(name)
  except ModuleNotFoundError as error:
    raise ModelFileError(
      f"pretrained models need the package {error.name!r}: install it with pip install 'rl-jax[tasks]'"
    ) from error
