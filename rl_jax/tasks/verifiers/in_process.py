"""A scorer that runs its verifier in this process: for tests, and to see what a verifier raises."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.attempt import attempt
from rl_jax.tasks.verifiers.errors import CannotVerify


class InProcess:
  """A scorer without workers, deadline or isolation: one response after the other.

  Args:
    verifier: 'package.module:function'.
    arguments: keyword arguments of it.
    failed_reward: of a response that exhausts the verifier; None: it is unscored.
  """

  def __init__(self, verifier: str, arguments: Mapping[str, Any], *, failed_reward: float | None = 0.0):
    self._name, self._verify, self._arguments = verifier, scoring.load(verifier), dict(arguments)
    self._exhausted = Verdict(failed_reward, {"crashed": 1.0})
    self._errors, self._last_error = 0, ""

  def __call__(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Verdict]:
    """Verdicts in the order of the items. Raises: CannotVerify: the verifier can score no response."""
    return [self._score(response, entry) for response, entry in items]

  def _score(self, response: str, entry: dict[str, Any]) -> Verdict:
    found = attempt(self._verify, response, entry, self._arguments)
    if found.fatal:
      raise CannotVerify(found.error)
    if found.error:
      self._errors, self._last_error = self._errors + 1, found.error
      return Verdict(None, {"error": 1.0})
    return self._exhausted if found.exhausted else Verdict(found.reward, found.parts)

  def notes(self) -> list[str]:
    """A line on what the verifier raised last, if it has raised since the last call."""
    told, self._last_error = self._last_error, ""
    return [f"{self._name} has raised {self._errors} times, last: {told}"] if told else []
