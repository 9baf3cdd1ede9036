"""Claims of a study: which of two entries is higher, in which metric and over which axis, with an interval.

A claim is {"left", "right", "metric", "direction", "across"}, and "right_metric" if the right entry is compared in
another metric, as for two forms of inference of one entry. `across` is the axis of the paper's claim:

  tokens, updates, sequential_tokens  the metric's mean height up to the end of the shorter curve
  budget                              the metric at the budget of tokens
  accuracy                            the metric where a seed first has the accuracy that both entries reach
  relative_variance                   the metric's variance between evaluations over its squared mean, up to the budget

Among several claims, some hold by chance. Each therefore has a second, wider interval, at level 1 - 0.05 / n for n
claims (Bonferroni); verdicts by these intervals hold for all claims together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from rl_jax.runs.comparison import Estimate, paired_difference, verdict
from rl_jax.runs.gates import first_reached
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
  compared = _compared(sides, across, budget)
  above, starts = claim.get("direction", "above") == "above", min(entry.starts for entry in pair)
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


def _compared(sides: tuple[_Side, _Side], across: str, budget: float) -> _Compared:
  pair = [side.entry for side in sides]
  metric = " minus ".join(dict.fromkeys(side.metric for side in sides))
  if across == "budget":
    return _Compared(metric, *(entry.value_at(name, "tokens", budget) for entry, name in sides))
  if across == "accuracy":
    level = min(float(np.mean(entry.at_budget[ACCURACY])) for entry in pair)
    return _Compared(f"{metric} at accuracy {level:.3f}", *(_at_accuracy(*side, level) for side in sides))
  if across == "relative_variance":
    return _Compared(f"relative variance of {metric}", *(_variance(*side, budget) for side in sides))
  if across not in AXES:
    known = ", ".join(("budget", "accuracy", "relative_variance", *AXES))
    raise ValueError(f"a claim across {across!r}: want one of {known}")
  end = min(entry.end(across, budget) for entry in pair)
  words = f"mean {metric} over {end:,.0f} {across.replace('_', ' ')}"
  return _Compared(words, *(entry.mean_over(name, across, end) for entry, name in sides))


def _at_accuracy(entry: Entry, metric: str, level: float) -> np.ndarray:
  """A metric [S, 1] at the point where each seed first reaches an accuracy, or at its end if it never does."""
  found = []
  for tokens, accuracy, curve in zip(entry.tokens.T, entry.values[ACCURACY].T, entry.values[metric].T, strict=True):
    found.append(np.interp(min(first_reached(tokens, accuracy, level), tokens[-1]), tokens, curve))
  return np.array(found)[:, None]


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
