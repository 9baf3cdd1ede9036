"""Gates of a study: conditions on the curves of its controls that must hold before its claims are judged.

  start      greedy accuracy of the start below .3: the mode of the policy is not already right
  no_reward  training without a reward gains less than .05: sharpening is not enough
  baseline   the baseline gains more than .05: it learns
  oracle     with true step values, at most half of the tokens reach the baseline's final accuracy: credit can pay

Without known true values there is no oracle: three gates remain, and it is unknown whether credit can pay. Curves are
means over seeds. If seeds have several starts, the oracle's figures are also printed for each start, because the gate
may hold for the mean but not for every start. A gate that fails is a result too: it is printed with its figures, and
claims are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.runs.metric_names import GREEDY

MOST_START = 0.3
MOST_GAIN = 0.05
MOST_SHARE = 0.5
ALREADY_RIGHT = 0.9
"""Greedy accuracy above which a start can only be sharpened."""

Curves = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""(tokens, mean accuracy) by entry."""


class Gate(NamedTuple):
  """One gate; `passed` is None if the runs that it needs are missing."""

  name: str
  passed: bool | None
  figures: str

  @property
  def line(self) -> str:
    """The gate as a line of Markdown."""
    status = {True: "holds", False: "**fails**", None: "not measured"}[self.passed]
    return f"- {self.name}: {status} ({self.figures})"


def already_right(held_out: Mapping[str, Any]) -> str:
  """Warning if nearly all greedy answers of a start are right; "" if they are not, or were not measured."""
  greedy = float(np.mean(held_out.get(GREEDY, 0.0)))
  if not greedy > ALREADY_RIGHT:
    return ""
  return (
    f"warning: the start is already right (greedy accuracy {greedy:.2f}): training can only make it surer, which needs "
    "no reward, so the curve tells nothing about rewards and credit"
  )


def first_reached(across: np.ndarray, curve: np.ndarray, level: float) -> float:
  """Point at which a curve first reaches a level, with linear interpolation; inf if it never does."""
  reached = np.flatnonzero(curve >= level)
  if not len(reached):
    return float("inf")
  index = int(reached[0])
  if index == 0:
    return float(across[0])
  (x0, x1), (y0, y1) = across[index - 1 : index + 1], curve[index - 1 : index + 1]
  return float(x0 + (x1 - x0) * (level - y0) / (y1 - y0))


def gates(
  roles: Mapping[str, str], baseline: str, entries: Mapping[str, Any], accuracy: str, budget: float
) -> list[Gate]:
  """The gates of a study.

  Args:
    roles: names of the control entries "oracle" and "no_reward"; the oracle's gate is left out if there is none.
    entries: `study_results.Entry` by name.
    accuracy: metric of sampled answers.
    budget: tokens per seed.
  """
  controls = {name: entries[name] for name in {*roles.values(), baseline} & {*entries}}
  curves = {name: _mean_curve(entry, accuracy, budget) for name, entry in controls.items()}
  judged = [_start(entries)]
  for name, entry, holds in (
    ("no_reward", roles.get("no_reward"), lambda gain: gain < MOST_GAIN),
    ("baseline", baseline, lambda gain: gain > MOST_GAIN),
  ):
    if entry not in curves:
      judged.append(Gate(name, None, f"{entry} was not run"))
      continue
    _, curve = curves[entry]
    gain = float(curve[-1] - curve[0])
    if np.isnan(gain):
      judged.append(Gate(name, None, f"{entry} has evaluations in which nothing was scored"))
      continue
    judged.append(Gate(name, bool(holds(gain)), f"{entry} gains {gain:+.3f}, from {curve[0]:.3f} to {curve[-1]:.3f}"))
  if "oracle" not in roles:
    return judged
  starts = entries[baseline].starts if baseline in entries else 1
  by_start = [
    {name: _mean_curve(entry, accuracy, budget, slice(start, None, starts)) for name, entry in controls.items()}
    for start in range(starts)
  ]
  judged.append(_oracle(curves, by_start if starts > 1 else [], roles["oracle"], baseline))
  return judged


def _start(entries: Mapping[str, Any]) -> Gate:
  starts = [entry.values[GREEDY][0].mean() for entry in entries.values() if GREEDY in entry.values]
  if not starts:
    return Gate("start", None, "no greedy accuracy in the runs: evaluation.greedy")
  highest = float(np.max(starts))  # NaN if one is
  if np.isnan(highest):
    return Gate("start", None, "a start whose greedy answers were not scored")
  return Gate("start", highest < MOST_START, f"greedy accuracy {highest:.3f}, wanted below {MOST_START}")


def _oracle(curves: Curves, by_start: Sequence[Curves], oracle: str, baseline: str) -> Gate:
  if oracle not in curves or baseline not in curves:
    return Gate("oracle", None, f"{oracle} or {baseline} was not run")
  if any(np.isnan(curves[name][1]).any() for name in (oracle, baseline)):
    return Gate("oracle", None, f"{oracle} or {baseline} has evaluations in which nothing was scored")
  level, needs, takes = _race(curves, oracle, baseline)
  if level - curves[baseline][1][0] <= MOST_GAIN:
    return Gate("oracle", None, f"{baseline} has gained too little to be compared with")
  outcome = f"needs {needs:,.0f} tokens" if np.isfinite(needs) else "does not come"
  figures = f"to {level:.3f} {oracle} {outcome}, {baseline} needs {takes:,.0f}; wanted at most half"
  if by_start:
    races = [_race(start, oracle, baseline) for start in by_start]
    shares = [f"{needs / takes:.2f}" if np.isfinite(needs) else "never" for _, needs, takes in races]
    figures += f"; as a share of {baseline}'s, by start: {', '.join(shares)}"
  return Gate("oracle", needs <= MOST_SHARE * takes, figures)


def _race(curves: Curves, oracle: str, baseline: str) -> tuple[float, float, float]:
  """The baseline's final accuracy, and the tokens that oracle and baseline need to reach it."""
  level = float(curves[baseline][1][-1])
  return level, first_reached(*curves[oracle], level), first_reached(*curves[baseline], level)


def _mean_curve(entry: Any, metric: str, budget: float, seeds: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
  """(tokens, mean over some seeds), up to exactly the budget."""
  tokens = np.append(entry.tokens[:, seeds].mean(axis=1), budget)
  inside = tokens < budget
  inside[-1] = True
  curve = np.append(entry.values[metric][:, seeds].mean(axis=1), np.mean(entry.at_budget[metric][seeds]))
  return tokens[inside], curve[inside]
