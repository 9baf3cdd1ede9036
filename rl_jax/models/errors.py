"""What ends the reading of a pretrained model with one line for a person."""

from __future__ import annotations

import importlib
from typing import Any


class ModelFileError(ValueError):
  """A model that is missing or does not fit: the message says which file was looked for where, and what to do."""


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
