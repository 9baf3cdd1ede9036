"""Optional functions beside a verifier that describe it: <name>_parts, <name>_seconds and <name>_ready."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rl_jax.tasks import scoring


def parts(verifier: str, arguments: Mapping[str, Any]) -> tuple[str, ...]:
  """Names of the parts of its verdicts with these arguments; none without <name>_parts(**arguments)."""
  names = _companion(verifier, "parts")
  return tuple(names(**arguments)) if names else ()


def seconds(verifier: str, arguments: Mapping[str, Any]) -> float:
  """CPU time that one response may need, by the verifier's limits; 0 without <name>_seconds(**arguments)."""
  seconds_of = _companion(verifier, "seconds")
  return float(seconds_of(**arguments)) if seconds_of else 0.0


def ready(verifier: str, arguments: Mapping[str, Any], entries: Iterable[Mapping[str, Any]]) -> list[str]:
  """Check a verifier's requirements before anything is scored, by <name>_ready(entries, **arguments).

  Returns: notes for the user.
  Raises: CannotVerify, ValueError: something is missing.
  """
  check = _companion(verifier, "ready")
  return list(check(entries, **arguments)) if check else []


def _companion(verifier: str, what: str) -> Callable[..., Any] | None:
  scoring.load(verifier)
  path, _, name = verifier.partition(":")
  return getattr(scoring.module_of(path), f"{name}_{what}", None)
