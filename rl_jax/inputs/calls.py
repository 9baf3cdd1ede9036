"""Users' functions: their arguments, and the fields that a `get_config` returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from rl_jax.inputs.users_code import place_of_function


def check_call(function: Any, name: str, parameters: tuple[str, ...], keywords: tuple[str, ...] = ()) -> None:
  """Raise ValueError unless a function accepts this number of positional arguments and these keywords."""
  form = f"{name}({', '.join((*parameters, *(f'{keyword}=…' for keyword in keywords)))})"
  if not callable(function):
    raise ValueError(f"{name} is of type {type(function).__name__}, want a function {form}")
  try:
    signature = inspect.signature(function)
  except ValueError:  # builtins have no signature
    return
  try:
    signature.bind(*parameters, **dict.fromkeys(keywords))
  except TypeError as error:
    raise ValueError(f"{name} ({place_of_function(function)}) is called as {form}: {error}") from error


def fields_of(get_config: Callable[..., Any], *arguments: str) -> Mapping[str, Any] | ConfigDict:
  """Fields of a user's `get_config`. Raises: ValueError: it takes other arguments, or returns no named fields."""
  check_call(get_config, "get_config", arguments)
  fields = get_config(*arguments)
  where = f"get_config ({place_of_function(get_config)})"
  if not isinstance(fields, Mapping | ConfigDict):
    gave = fields if fields is None else f"a {type(fields).__name__}"
    raise ValueError(f"{where} gave {gave}: it has to give a dict")
  check_names(fields, where)
  return fields


def check_names(fields: Mapping[str, Any] | ConfigDict, where: str) -> None:
  """Raise ValueError for a field name that is not text or contains a dot, which separates sections."""
  for name in fields:
    if not isinstance(name, str) or "." in name:
      raise ValueError(f"{where} has the field {name!r}: a name is text without dots")
    if isinstance(fields[name], Mapping | ConfigDict):
      check_names(fields[name], where)
