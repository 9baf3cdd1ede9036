"""History of a run from the entries of manifest.json: lost launches, and how far the run has been saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Launches = Sequence[Mapping[str, Any]]
"""The entries of manifest.json, first launch first."""


def lost_launches(launches: Launches, iterations: int) -> list[str]:
  """One line for each gap in the launches of a run that has reached this iteration.

  >>> lost_launches([{"resumed_from": 0, "end": {"iterations": 4}}, {"resumed_from": 6}], 8)
  ['manifest.json lacks a launch between 1, which ended at iteration 4, and 2, which began at 6']
  """
  if not launches:
    return ["manifest.json names no launch: the run's history is lost"] if iterations else []
  first = launches[0].get("resumed_from", 0)
  lost = [f"manifest.json lacks the launches before iteration {first}, where its first one began"] if first else []
  for number, (before, after) in enumerate(zip(launches, launches[1:], strict=False), 1):
    ended, began = before.get("end", {}).get("iterations", math.inf), after.get("resumed_from", 0)
    if began > ended:
      lost.append(
        f"manifest.json lacks a launch between {number}, which ended at iteration {ended}, and {number + 1}, which "
        f"began at {began}"
      )
  return lost


def saved_iterations(launches: Launches) -> int:
  """Last iteration that launches have saved, by where they ended and where others began; 0 if none has."""
  began = (launch.get("resumed_from", 0) for launch in launches)
  ended = (launch.get("end", {}).get("iterations", 0) for launch in launches)
  return max((*began, *ended), default=0)


def last_iteration(lines: Sequence[Mapping[str, Any]]) -> int:
  """The last iteration of a log; 0 of an empty one."""
  return max((line["iteration"] for line in lines), default=0)
