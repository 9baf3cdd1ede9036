"""Claims of a study: which of two entries is higher, in which metric and over which axis, with an interval.

A claim is {"left", "right", "metric", "direction", "across"}, and "right_metric" if the right entry is compared in
another metric, as for two forms of inference of one entry. Where "chance", the accuracy of guesses, is not 0, equal
accuracies have to be above it. `across` is the axis of the paper's claim:

  tokens, updates, sequential_tokens  the metric's mean height up to the end of the shorter curve
  budget                              the metric at the budget of tokens
  accuracy                            the metric where a seed first has the accuracy that at least three quarters of the
                                      pairs of seeds reach in both entries; the other pairs are left out
  relative_variance                   the metric's variance between evaluations over its squared mean, up to the budget

Among several claims, some hold by chance. Each therefore has a second, wider interval, at level 1 - 0.05 / n for n
claims (Bonferroni); verdicts by these intervals hold for all claims together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.runs.comparison import Estimate, paired_difference, verdict
from rl_jax.runs.gates import MOST_GAIN, first_reached
from rl_jax.runs.metric_names import ACCURACY
from rl_jax.runs.study_results import AXES, Entry


def lines(
  claims: Mapping[str, Mapping[str, Any]], entries: Mapping[str, Entry], failed: Sequence[str], budget: float
) -> list[str]:
  """Verdicts on the claims whose entries were run, as Markdown.

  Args:
    failed: gates that do not hold; if there are any, no claim is judged.
  """
  run = {title: claim for title, claim in claims.items() if {claim["left"], claim["right"]} <= entries.keys()}
  if not run:
    return []
  level = 1 - 0.05 / len(run)
  count = "one comparison" if len(run) == 1 else f"{len(run)} comparisons, of which one in twenty holds by chance"
  head = f"Claims (at this size and budget; {count}):"
  return [head, "", *(f"- {title}: {_judged(claim, entries, failed, budget, level)}" for title, claim in run.items())]


def _judged(
  claim: Mapping[str, Any], entries: Mapping[str, Entry], failed: Sequence[str], budget: float, level: float
) -> str:
  left, right, metric = (claim[key] for key in ("left", "right", "metric"))
  sides = _Side(entries[left], metric), _Side(entries[right], claim.get("right_metric", metric))
  for entry, metric in sides:
    if metric not in entry.at_budget:
      return f"not measured ({metric})"
  pair, across = [entry for entry, _ in sides], claim.get("across", "budget")
  compared, above = _compared(sides, across, budget, claim.get("chance", 0.0)), claim.get("direction") != "below"
  if isinstance(compared, str):
    return f"not judged ({compared})"
  starts = min(entry.starts for entry in pair) if compared.starts is None else compared.starts
  difference, wide = (paired_difference(compared.left, compared.right, starts, at) for at in (0.95, level))
  which = f"{left} minus {right}" if left != right else f"both of {left}"
  found = f"{compared.words}, {which}: {_shown(difference)}"
  if failed:
    return f"not judged (gates: {', '.join(failed)}) ({found})"
  judgement = f"**{verdict(difference, above=above)}**"
  if level > 0.95:
    together = verdict(wide, above=above)
    found += f"; at {100 * level:.1f} %, for all together: {_interval(wide)}, {together}"
  return f"{judgement} ({found})"


class _Side(NamedTuple):
  """One side of a claim."""

  entry: Entry
  metric: str


class _Compared(NamedTuple):
  """Quantity that a claim compares, with values [S, K] for each entry."""

  words: str
  left: np.ndarray
  right: np.ndarray
  starts: np.ndarray | None = None
  """[S] start of each seed, if only some seeds are compared."""


def _compared(sides: tuple[_Side, _Side], across: str, budget: float, chance: float) -> _Compared | str:
  """The quantity, or why it cannot be compared."""
  pair = [side.entry for side in sides]
  metric = " minus ".join(dict.fromkeys(side.metric for side in sides))
  if across == "budget":
    return _Compared(metric, *(entry.value_at(name, "tokens", budget) for entry, name in sides))
  if across == "accuracy":
    return _at_equal_accuracy(sides, metric, budget, chance)
  if across == "relative_variance":
    return _Compared(f"relative variance of {metric}", *(_variance(*side, budget) for side in sides))
  if across not in AXES:
    known = ", ".join(("budget", "accuracy", "relative_variance", *AXES))
    raise ValueError(f"a claim across {across!r}: want one of {known}")
  end = min(entry.end(across, budget) for entry in pair)
  words = f"mean {metric} over {end:,.0f} {across.replace('_', ' ')}"
  return _Compared(words, *(entry.mean_over(name, across, end) for entry, name in sides))


def _at_equal_accuracy(sides: tuple[_Side, _Side], words: str, budget: float, chance: float) -> _Compared | str:
  """A metric at one accuracy. A seed that never has it has no such point: its end would be at a lower one."""
  curves = [[_up_to(budget, side.entry, name) for name in (ACCURACY, side.metric)] for side in sides]
  best = [np.array([curve.max() for _, curve in of_accuracy]) for of_accuracy, _ in curves]
  if best[0].shape != best[1].shape:
    raise ValueError(f"entries have {len(best[0])} and {len(best[1])} seeds: want the same in both")
  start = max(float(side.entry.values[ACCURACY][0].mean()) for side in sides)
  if np.isnan(start) or np.isnan(best).any():
    return "evaluations in which nothing was scored"
  highest, least = np.minimum(*best), max(start, chance) + MOST_GAIN
  level = float(np.quantile(highest, 0.25, method="lower"))
  if not level > least:
    gained = f"{np.sum(highest > least)} of {len(highest)} pairs of seeds"
    return f"{gained} come above an accuracy of {least:.3f}, three quarters are needed"
  reached = np.flatnonzero(highest >= level)
  pairs = "" if len(reached) == len(highest) else f" ({len(reached)} of {len(highest)} pairs of seeds)"
  left, right = (_where(level, *both)[reached, None] for both in curves)
  starts = min(side.entry.starts for side in sides)
  return _Compared(f"{words} at accuracy {level:.3f}{pairs}", left, right, reached % starts)


_Curves = list[tuple[np.ndarray, np.ndarray]]
"""(tokens, metric) of each seed."""


def _up_to(budget: float, entry: Entry, metric: str) -> _Curves:
  """Curves that end at the budget, which the runs overshoot by different amounts."""
  pairs = zip(entry.tokens.T, entry.values[metric].T, entry.at_budget[metric], strict=True)
  return [
    (np.append(tokens[tokens < budget], budget), np.append(curve[tokens < budget], last))
    for tokens, curve, last in pairs
  ]


def _where(level: float, accuracies: _Curves, metrics: _Curves) -> np.ndarray:
  """A metric [S] at the point where each seed first reaches an accuracy; one that never does is left out later."""
  pairs = zip(accuracies, metrics, strict=True)
  return np.array([np.interp(first_reached(*accuracy, level), *metric) for accuracy, metric in pairs])


def _variance(entry: Entry, metric: str, budget: float) -> np.ndarray:
  """Half the mean square [S, 1] of a metric's changes between evaluations, over the square of its mean. A slow trend
  adds little to these changes."""
  pairs = zip(entry.tokens.T, entry.values[metric].T, strict=True)
  curves = [curve[tokens <= budget] for tokens, curve in pairs]
  return np.array([[np.mean(np.square(np.diff(curve))) / 2 / np.square(np.mean(curve))] for curve in curves])


def _shown(estimated: Estimate) -> str:
  return f"{estimated.value:+.3f} {_interval(estimated)}"


def _interval(estimated: Estimate) -> str:
  return f"[{estimated.low:+.3f}, {estimated.high:+.3f}]"
