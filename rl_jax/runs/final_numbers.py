"""Table of the last values of a run's metrics, with intervals over seeds and over problems."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from rl_jax.runs import page
from rl_jax.runs.formatting import number
from rl_jax.runs.intervals import wilson
from rl_jax.runs.metric_names import ACCURACY, GREEDY, REWARD, TOKENS, find, is_shown
from rl_jax.runs.record import Record
from rl_jax.runs.statistics import FEWEST_FOR_T, summary

_MAIN = (
  ("evaluation", ACCURACY),
  ("evaluation", GREEDY),
  ("evaluation", "held_out/pass_at_"),
  ("train", REWARD),
  ("train", "accuracy"),
  ("train", "response_length"),
  ("train", "entropy"),
  ("train", TOKENS),
  ("train", "skipped_updates"),
)
_OVER_PROBLEMS = re.compile(rf"{ACCURACY}|{GREEDY}|held_out/pass_at_\d+")
"""Metrics that are means of numbers from 0 to 1 over all problems of an evaluation."""


class Row(NamedTuple):
  """Last point of a metric."""

  kind: str
  name: str
  iteration: int
  values: list[float]

  @property
  def rank(self) -> int:
    """Index among the main metrics, or the index after them. A main name that ends in "_" is a prefix."""
    for index, (kind, name) in enumerate(_MAIN):
      if self.kind == kind and (self.name == name or (name.endswith("_") and self.name.startswith(name))):
        return index
    return len(_MAIN)


def rows(record: Record) -> list[Row]:
  """Last point of each metric, main metrics first."""
  last = [
    Row(kind, name, int(series.iterations[-1]), series.values[-1].tolist())
    for kind, group in sorted(record.series.items())
    for name, series in sorted(group.items())
    if is_shown(name)
  ]
  return sorted(last, key=lambda row: row.rank)


def main_rows(record: Record) -> list[Row]:
  """Rows of the main metrics."""
  return [row for row in rows(record) if row.rank < len(_MAIN)]


def problems(record: Record) -> int:
  """Number of held-out problems of an evaluation; 0 if the config does not say."""
  count = record.config.get("evaluation", {}).get("prompts")
  return count if isinstance(count, int) else 0


def note(record: Record) -> str:
  """Explanation of the columns of `table`."""
  text = "Last values written."
  if record.num_seeds > 1:
    text += " Spread: standard deviation over seeds (n - 1)."
    if _has_intervals(record):
      text += (
        " Over seeds: Student's t interval of the mean, cut to what a metric can be where its unit says so: shares are "
        "from 0 to 1; lengths, counts, entropies and norms from 0 on; a reward may be any number."
      )
    else:
      text += " Two seeds have no interval: Student's t would reach 12.7 standard errors to either side."
  if problems(record):
    text += (
      " Over problems: Wilson's interval for this policy, or the mean over seeds. Where a problem has several answers "
      "it is wider than that of rl_jax.evaluate, which knows the answers to each."
    )
  return text


def table(record: Record, lines: Sequence[Row]) -> str:
  """The rows as HTML, with a column for each seed."""
  seeds, asked = record.num_seeds, problems(record)
  columns = [("metric", "name"), ("mean" if seeds > 1 else "value", "number")]
  if seeds > 1:
    columns.append(("spread", "number"))
  if with_seeds := _has_intervals(record):
    columns.append((f"95 % over {seeds} seeds", "number"))
  if with_problems := asked > 0 and any(_OVER_PROBLEMS.fullmatch(row.name) for row in lines):
    columns.append((f"95 % over {asked} problems", "number"))
  columns.append(("iteration", "number"))
  columns += [(f"seed {seed}", "number") for seed in range(seeds if seeds > 1 else 0)]
  columns.append(("kind", ""))
  cells = []
  for row in lines:
    total, several = summary(row.values), len(row.values) > 1
    line = [row.name, number(total.mean)]
    if seeds > 1:
      line.append(number(total.spread) if several else "")
    if with_seeds:
      line.append(_over_seeds(row) if several else "")
    if with_problems:
      line.append(over_problems(total.mean, asked) if _OVER_PROBLEMS.fullmatch(row.name) else "")
    line.append(number(row.iteration))
    if seeds > 1:
      line += [number(value) for value in row.values] + [""] * (seeds - len(row.values)) if several else [""] * seeds
    cells.append([*line, row.kind])
  return page.table(columns, cells)


def _has_intervals(record: Record) -> bool:
  return record.num_seeds >= FEWEST_FOR_T


def _over_seeds(row: Row) -> str:
  """Student's t interval, cut to the metric's bounds (or to the values, if an estimate exceeds them). Equal seeds get
  no interval, since they do not prove that other seeds would be equal too."""
  total = summary(row.values)
  low, high = total.low, total.high
  if total.spread == 0:
    return "all seeds equal"
  if low != low:
    return ""
  metric = find(row.kind, row.name)
  if metric is not None:
    least, most = metric.bounds
    low, high = max(low, min(least, *row.values)), min(high, max(most, *row.values))
  return f"{number(low)} to {number(high)}"


def over_problems(share: float, asked: int) -> str:
  """Wilson's interval of a share of `asked` problems; "" if there is none."""
  if not asked or share != share:
    return ""
  low, high = wilson(share, asked)
  return f"{number(low)} to {number(high)}"
