"""Scorer that runs its verifier in this process, for tests and debugging."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rl_jax.tasks import scoring
from rl_jax.tasks.scoring import Verdict
from rl_jax.tasks.verifiers.attempt import Tally, attempt
from rl_jax.tasks.verifiers.errors import CannotVerify


class InProcess:
  """A scorer without workers, deadline or isolation: one response after the other.

  Args:
    verifier: 'package.module:function'.
    arguments: keyword arguments of it.
    failed_reward: reward of a response that exhausts the verifier; None: it is unscored.

  Attributes:
    tally: counts of outcomes so far.
  """

  def __init__(self, verifier: str, arguments: Mapping[str, Any], *, failed_reward: float | None = 0.0):
    self._verify, self._arguments = scoring.load(verifier), dict(arguments)
    self._exhausted = Verdict(failed_reward, {"crashed": 1.0})
    self.tally = Tally(verifier)

  def __call__(self, items: Sequence[tuple[str, dict[str, Any]]]) -> list[Verdict]:
    """Verdicts in the order of the items. Raises: CannotVerify: the verifier can score no response."""
    return [self._score(response, entry) for response, entry in items]

  def _score(self, response: str, entry: dict[str, Any]) -> Verdict:
    tried = attempt(self._verify, response, entry, self._arguments)
    if tried.fatal:
      raise CannotVerify(tried.error)
    if tried.error:
      self.tally.raised(tried.error)
      return Verdict(None, {"error": 1.0})
    return self.tally.judged(self._exhausted if tried.exhausted else Verdict(tried.reward, tried.parts, tried.reason))

  def notes(self) -> list[str]:
    """Lines on errors and failed responses since the last call."""
    return self.tally.notes()
