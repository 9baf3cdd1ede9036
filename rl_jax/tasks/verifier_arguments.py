"""Arguments of verifiers, checked against their signatures before anything is scored."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from rl_jax.tasks import scoring

_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def bound_arguments(
  verifier: str,
  offered: Mapping[str, Any],
  given: Mapping[str, Any],
  *,
  fallback: Mapping[str, Any] | None = None,
  where: str = "task.verifier_arguments",
) -> dict[str, Any]:
  """Keyword arguments of a verifier: all that are `given`, and those of the `offered` and the `fallback` that it takes.

  Args:
    verifier: 'package.module:function', see `scoring`.
    offered: arguments that a task has for any verifier. One in `given` too has the value there.
    given: arguments that a person wrote.
    fallback: values for parameters that have no default and that are in neither of the two.
    where: name of the field that holds `given`, for messages.

  Raises: ValueError: the verifier does not take one of `given`, or wants one that nobody gave.
  """
  if not isinstance(given, Mapping) and not hasattr(given, "items"):
    raise ValueError(f"{where}: got {given!r}, want names and values")
  parameters = _parameters(verifier)
  named = _named(parameters)
  takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
  taken = _first_two(parameters)
  unknown = [name for name in given if name in taken or (name not in named and not takes_any)]
  known = f"known: {', '.join(named) or 'none'}"
  if unknown:
    raise ValueError(f"{where}: {verifier} takes no argument {_listed(unknown)} ({known})")
  arguments = {name: value for name, value in offered.items() if name in named or takes_any} | dict(given)
  needed = [name for name, p in named.items() if p.default is inspect.Parameter.empty and name not in arguments]
  arguments |= {name: value for name, value in (fallback or {}).items() if name in needed}
  missing = [name for name in needed if name not in arguments]
  if missing:
    raise ValueError(f"{where}: {verifier} needs the argument {_listed(missing)} ({known})")
  return arguments


def names_argument(verifier: str, argument: str) -> bool:
  """Whether a verifier has a parameter of that name, for itself and not among any others.

  Raises: ValueError: it is no verifier.
  """
  return argument in _named(_parameters(verifier))


def _parameters(verifier: str) -> Mapping[str, inspect.Parameter]:
  function = scoring.load(verifier)
  try:
    signature = inspect.signature(function)
    signature.bind_partial("response", {})
  except (TypeError, ValueError) as error:  # not callable, of an unknown signature, or of too few arguments
    raise ValueError(f"task.verifier: {verifier} is no function (response, entry, **arguments) -> Verdict") from error
  return signature.parameters


def _first_two(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
  """The names of the response and the entry."""
  return [name for name, p in parameters.items() if p.kind in _POSITIONAL][:2]


def _named(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
  """The parameters beside the response and the entry that an argument can name."""
  taken = _first_two(parameters)
  return {name: p for name, p in parameters.items() if p.kind in _BY_NAME and name not in taken}


def _listed(names: list[str]) -> str:
  return ", ".join(map(repr, names))
