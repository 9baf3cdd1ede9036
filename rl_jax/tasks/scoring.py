"""Scoring of text: a response and its problem's entry give a verdict. Imports no JAX, since workers load this file.

A verifier is a function (response, entry, **arguments) -> Verdict, or a number as the reward. It is named by its dotted
path, which worker processes can load. A scorer runs one over many responses.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from rl_jax.inputs.users_code import place_of
from rl_jax.tasks.answers import choices, finding, numbers, spans
from rl_jax.tasks.answers.plain import plain


class Verdict(NamedTuple):
  """Verdict of a verifier on one response.

  Attributes:
    reward: None where there is no verdict, which differs from a score of 0.
    parts: named numbers that the reward is made of. Without a reward, one of `timed_out` (a deadline passed),
      `crashed` (the worker died) and `error` (the verifier raised) may be 1.
    reason: why there is no reward, in one line; "" if nothing more is known.
  """

  reward: float | None
  parts: Mapping[str, float] = {}
  reason: str = ""


FAILURES = ("timed_out", "crashed", "error")
"""Parts of a verdict for failed responses: timed out, worker crashed, verifier raised."""


def without_rewards_of_failures_alone(verdicts: Sequence[Verdict]) -> Sequence[Verdict]:
  """Verdicts on responses that were scored together, without rewards if none was judged, since then the verifier
  failed.

  >>> crashed = Verdict(0.0, {"crashed": 1.0})
  >>> [[v.reward for v in without_rewards_of_failures_alone(all)] for all in ([crashed], [crashed, Verdict(1.0)])]
  [[None], [0.0, 1.0]]
  """
  is_judged = lambda v: v.reward is not None and not any(v.parts.get(name) for name in FAILURES)
  return verdicts if any(map(is_judged, verdicts)) else [v._replace(reward=None) for v in verdicts]


def verdict_of(result: Any) -> Verdict:
  """Convert a verifier's result to a verdict: a number alone is the reward.

  Raises: TypeError: it is neither.

  >>> verdict_of(True)
  Verdict(reward=1.0, parts={}, reason='')
  """
  if isinstance(result, Verdict):
    return result
  if hasattr(result, "__float__"):  # of bool, int, float, and of NumPy's numbers
    return Verdict(float(result))
  raise TypeError(f"the verifier gave {str(result)[:60]!r} ({type(result).__name__}), want a number or a Verdict")


Scorer = Callable[[Sequence[tuple[str, dict[str, Any]]]], Sequence[Verdict]]
"""(response, entry) pairs -> their verdicts, in order. One that holds workers has close() and notes(), lines on what
went wrong since the last call."""

last_tag, last_line, last_number = finding.last_tag, finding.last_line, finding.last_number

ANSWERS: dict[str, Callable[[str], str | None]] = {
  "tag": last_tag,
  "line": last_line,
  "number": last_number,
  "whole": str.strip,
  "choice": choices.choice,
}
"""Rules that extract an answer from a response; None: there is no answer."""


def rule(name: str) -> Callable[[str], str | None]:
  """Rule by name; ValueError if it is unknown."""
  if not isinstance(name, str) or name not in ANSWERS:
    raise ValueError(f"task.answer: got {name!r}, want one of {', '.join(ANSWERS)}")
  return ANSWERS[name]


def equal_numbers(response: str, entry: Mapping[str, Any], *, answer: str) -> Verdict:
  """1 where the answer of the response and `entry["answer"]` are exactly the same number, or the same text, else 0.

  Markdown, boxes and delimiters of formulas around an answer do not count. A unit that one side alone has, "%" or a
  currency, does not count either. An empty answer is none.

  Args:
    answer: name of the rule in `ANSWERS`.
  """
  response_answer = rule(answer)(response)
  if not response_answer:
    return Verdict(0.0)
  texts = [plain(spans.boxed(text) or text) for text in (response_answer, str(entry["answer"]))]
  first, second = map(numbers.read, texts)
  if first is None or second is None:
    return Verdict(float(texts[0].casefold() == texts[1].casefold()))
  units = {first.unit, second.unit} - {""}
  return Verdict(float(first.value == second.value and len(units) < 2))


def load(verifier: str, *, field: str = "task.verifier", kind: str = "function") -> Callable[..., Any]:
  """The function, or class, that 'package.module:name' or 'folder/file.py:name' names.

  Args:
    field: the config's, which holds the name.
    kind: of what it names.

  Raises: ValueError: there is none.
  """
  path, _, name = verifier.partition(":") if isinstance(verifier, str) else ("", "", "")
  if not path or not name or path.startswith("."):
    raise ValueError(f"{field}: got {verifier!r}, want 'package.module:{kind}' or 'file.py:{kind}'")
  try:
    module = module_of(path)
  except (Exception, SystemExit) as error:  # a module may be any code, even a script that exits
    reason = str(error) if isinstance(error, ModuleNotFoundError) else f"{type(error).__name__}: {error}"
    if path.endswith(".py") and not Path(path).expanduser().is_file():
      reason = f"no such file in {Path.cwd()}"
    place = None if isinstance(error, SyntaxError) else place_of(error)  # a SyntaxError has it
    where = f", {place}" if place else ""
    raise ValueError(f"{field}: cannot import {path!r} ({' '.join(reason.split())}{where})") from error
  try:
    return getattr(module, name)
  except AttributeError as error:
    raise ValueError(f"{field}: there is no {name!r} in {path}") from error


def module_of(path: str) -> ModuleType:
  """Module of a dotted path or of a file, whose folder joins the search path, as workers have that alone.

  Raises: ImportError: there is none, or another module has the name of the file.
  """
  if not path.endswith(".py"):
    return importlib.import_module(path)
  file = Path(path)
  folder = str(file.expanduser().absolute().parent)
  if folder not in sys.path:
    sys.path.append(folder)
  module = importlib.import_module(file.stem)
  if file.is_file() and not (module.__file__ and file.samefile(module.__file__)):
    raise ImportError(f"{file.stem} is another module, {module.__file__}: rename the file")
  return module
