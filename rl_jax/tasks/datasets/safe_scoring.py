"""Safe scores of reasoning-gym: no execution of answers, bounded time, no pay for silence or for two answers.

Imports no JAX. The precautions for single data sets are in `precautions` and `own_scorers`.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import re
import types
from collections.abc import Callable, Mapping
from typing import Any

from rl_jax.tasks.datasets.own_scorers import SCORERS
from rl_jax.tasks.datasets.precautions import ENDS_SOON, EVALUATORS, SHARES, Entry

LONGEST = 2**16
"""Largest length of a scored answer, in characters."""
ROUNDING = 1e-6
"""Excess over 1 of a reward that is summed from parts."""
_NOT_FINITE = re.compile(r"(?<![a-z])[-+]?(?:nan|inf|infinity)[ij]?(?![a-z])")


def reference(entry: Entry) -> str | None:
  """A right answer, where the data set names one that is not blank."""
  metadata = entry["metadata"]
  if "possible_answer" in metadata:
    return json.dumps(metadata["possible_answer"])
  candidates = (entry["answer"], metadata.get("example_answer"), metadata.get("example_correct_answer"))
  return next((text for text in candidates if isinstance(text, str) and text), None)


def scorer(name: str, dataset: Any) -> Callable[[str | None, Entry], float]:
  """The function (answer, entry) -> reward from 0 to 1 of a data set of reasoning-gym.

  A blank answer earns 0, and so does one that is too long or makes the scorer fail. An error that the reference answer
  brings about as well is the scorer's own and is raised.
  """
  by_trusting = SCORERS.get(name) or _without_evaluators(dataset, EVALUATORS.get(name, {}))

  def checked(answer: str, entry: Entry) -> float:
    if name in ENDS_SOON and not ENDS_SOON[name](answer, entry):
      return 0.0
    reward = float(by_trusting(answer, entry))
    if not 0.0 < reward <= 1.0 + ROUNDING:  # more: an error relative to a negative number, or NaN
      return 0.0
    return min(reward, 1.0) * (SHARES[name](answer, entry) if name in SHARES else 1.0)

  def score(answer: str | None, entry: Entry) -> float:
    if answer is None or len(answer) > LONGEST or _is_blank(answer):
      return 0.0
    right = reference(entry)
    if _is_no_number(answer, right):
      return 0.0
    with contextlib.redirect_stdout(io.StringIO()):  # some scorers print what they cannot read
      try:
        return checked(answer, entry)
      except Exception:  # as many kinds as answers
        if right is not None:
          checked(right, entry)
        return 0.0

  return score


def _without_evaluators(dataset: Any, replaced: Mapping[str, Any]) -> Callable[[str, Entry], float]:
  """The data set's `score_answer`, with other values of some global names."""
  function = type(dataset).score_answer
  names = {**function.__globals__, **replaced}
  code = types.FunctionType(function.__code__, names, None, function.__defaults__, function.__closure__)
  return functools.partial(code, dataset)


def _is_blank(answer: str) -> bool:
  return not any(character.isprintable() and character != " " for character in answer)


def _is_no_number(answer: str, right: str | None) -> bool:
  """Return whether NaN or infinity is given where a finite number is wanted: NaN is equally near to all numbers."""
  target = (right or "").lower()
  return bool(re.search(r"\d", target) and _NOT_FINITE.search(answer.lower()) and not _NOT_FINITE.search(target))
