"""History of a run from manifest.json: lost launches, and the last saved iteration."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Launches = Sequence[Mapping[str, Any]]
"""Entries of manifest.json, in order of launches."""


def lost_launches(launches: Launches, iterations: int) -> list[str]:
  """One line for each gap in the launches of a run that has reached this iteration.

  >>> lost_launches([{"resumed_from": 0, "end": {"iterations": 4}}, {"resumed_from": 6}], 8)
  ['manifest.json lacks a launch between 1, which ended at iteration 4, and 2, which began at 6']
  """
  if not launches:
    return ["manifest.json names no launch: the run's history is lost"] if iterations else []
  first = launches[0].get("resumed_from", 0)
  lost = [f"manifest.json lacks the launches before iteration {first}, where its first entry begins"] if first else []
  for number, (before, after) in enumerate(zip(launches, launches[1:], strict=False), 1):
    ended, began = before.get("end", {}).get("iterations", math.inf), after.get("resumed_from", 0)
    if began > ended:
      lost.append(
        f"manifest.json lacks a launch between {number}, which ended at iteration {ended}, and {number + 1}, which "
        f"began at {began}"
      )
  return lost


def contradictions(launches: Launches, identity: str | None) -> list[str]:
  """Faults of entries that launches of this run cannot have written, one line each.

  Args:
    identity: identity of the run; None: not known.
  """
  faults = _lost_fields(launches)
  for number, launch in enumerate(launches, 1):
    where, end = f"manifest.json, launch {number}", launch.get("end", {})
    if identity is not None and launch.get("identity", identity) != identity:
      faults.append(f"{where} is of another run: its identity is not that of identity.json")
    earlier = next(before for before, other in enumerate(launches, 1) if _beginning(other) == _beginning(launch))
    if earlier < number:
      faults.append(f"{where} is launch {earlier} again")
    # The end of the last launch is checked against the log itself.
    steps = end.get("checkpoints") if number < len(launches) else None
    if steps and str(end["iterations"]) not in steps:
      faults.append(f"{where} ended at iteration {end['iterations']}, but left no checkpoint of it")
  return faults


def misjudged_end(launches: Launches, config: Mapping[str, Any]) -> list[str]:
  """Line on a latest launch that is wrongly recorded as finished or unfinished; empty if it is right."""
  end, planned = launches[-1].get("end") if launches else None, config.get("num_iterations")
  if not end or type(planned) is not int:
    return []
  reached = end["iterations"] >= planned
  # A token budget may have ended the run earlier.
  if end["finished"] == reached or (end["finished"] and config.get("num_tokens")):
    return []
  state = "finished" if end["finished"] else "not finished"
  return [f"manifest.json, launch {len(launches)} is called {state} at iteration {end['iterations']} of {planned}"]


def _lost_fields(launches: Launches) -> list[str]:
  """Fields missing in an entry although its version writes them, as an earlier entry or another field shows."""
  lost: list[str] = []
  known: set[str] = set()
  for number, launch in enumerate(launches, 1):
    end = launch.get("end", {})
    fields = ({"files"} & launch.keys()) | {f"end.{name}" for name in ("checkpoints", "log") if name in end}
    known |= fields | ({"files", "end.checkpoints"} if fields else set())  # both came with the same version
    expected = known if end else known & {"files"}
    lost += [f"manifest.json, launch {number} has lost its field {name!r}" for name in sorted(expected - fields)]
  return lost


def _beginning(launch: Mapping[str, Any]) -> dict[str, Any]:
  return {name: value for name, value in launch.items() if name != "end"}


def saved_iterations(launches: Launches) -> int:
  """Last iteration saved by launches, judging by their ends and by where others resumed; 0 if there is none."""
  began = (launch.get("resumed_from", 0) for launch in launches)
  ended = (launch.get("end", {}).get("iterations", 0) for launch in launches)
  return max((*began, *ended), default=0)


def last_iteration(lines: Sequence[Mapping[str, Any]]) -> int:
  """The last iteration of a log; 0 if it is empty."""
  return max((line["iteration"] for line in lines), default=0)
