"""Optional packages of environments. Imports no JAX."""

from __future__ import annotations

import importlib
from types import ModuleType

from rl_jax.tasks.verifiers.errors import CannotVerify


def package(module: str) -> ModuleType:
  """A module of an optional package. Raises: CannotVerify: the package is not installed."""
  try:
    return importlib.import_module(module)
  except ModuleNotFoundError as error:
    name = module.partition(".")[0]
    if error.name is None or error.name.partition(".")[0] != name:
      raise  # a dependency of the package is missing
    raise CannotVerify(f"the package {name} is not installed here, or has no {module}: pip install {name}") from error
