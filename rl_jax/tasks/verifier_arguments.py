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
  options: Mapping[str, Any],
  *,
  fallback: Mapping[str, Any] | None = None,
  where: str = "task.verifier_arguments",
) -> dict[str, Any]:
  """Keyword arguments of a verifier: all `options`, and those of `offered` and `fallback` that it accepts.

  Args:
    verifier: 'package.module:function', see `scoring`.
    offered: arguments from the task; `options` take precedence.
    options: arguments from the user.
    fallback: values for parameters without a default that are in neither of the two.
    where: name of the field that holds `options`, for messages.

  Raises: ValueError: the verifier does not accept one of `options`, or a required argument is missing.
  """
  if not isinstance(options, Mapping) and not hasattr(options, "items"):
    raise ValueError(f"{where}: got {options!r}, want names and values")
  parameters = _parameters(verifier)
  by_name = _named(parameters)
  takes_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
  reserved = _first_two(parameters)
  unknown = [name for name in options if name in reserved or (name not in by_name and not takes_any)]
  hint = f"known: {', '.join(by_name) or 'none'}"
  if unknown:
    raise ValueError(f"{where}: {verifier} takes no argument {_listed(unknown)} ({hint})")
  arguments = {name: value for name, value in offered.items() if name in by_name or takes_any} | dict(options)
  required = [name for name, p in by_name.items() if p.default is inspect.Parameter.empty and name not in arguments]
  arguments |= {name: value for name, value in (fallback or {}).items() if name in required}
  missing = [name for name in required if name not in arguments]
  if missing:
    raise ValueError(f"{where}: {verifier} needs the argument {_listed(missing)} ({hint})")
  return arguments


def names_argument(verifier: str, argument: str) -> bool:
  """Return whether a verifier has a parameter of that name (**kwargs do not count).

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
  """Names of the parameters for response and entry."""
  return [name for name, p in parameters.items() if p.kind in _POSITIONAL][:2]


def _named(parameters: Mapping[str, inspect.Parameter]) -> dict[str, inspect.Parameter]:
  """Parameters other than response and entry that can be passed by name."""
  reserved = _first_two(parameters)
  return {name: p for name, p in parameters.items() if p.kind in _BY_NAME and name not in reserved}


def _listed(names: list[str]) -> str:
  return ", ".join(map(repr, names))
