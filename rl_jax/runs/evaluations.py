"""Record of an evaluation: results per problem, a summary with intervals, and the comparison of two evaluations.

Seeds are first averaged per problem: intervals are over problems, for the given policies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs.files import read_json, write_json, writing
from rl_jax.runs.formatting import rate
from rl_jax.runs.intervals import bootstrap, wilson
from rl_jax.runs.statistics import interval
from rl_jax.runs.visible import visible

FORMAT = 1
INTERVALS = "95 % intervals over problems: Student's t; greedy: Wilson; a difference: bootstrap"


def estimate(values: Sequence[float]) -> dict[str, Any]:
  """Mean of one number per problem with Student's t interval over problems, cut to [0, 1]; null where undefined."""
  values = [float(value) for value in values]
  low, high = interval(values)
  cut = lambda bound: None if bound != bound else min(max(bound, 0.0), 1.0)
  return {"value": sum(values) / len(values), "low": cut(low), "high": cut(high)}


def summarise(
  pass_at: Mapping[int, Sequence[float]], greedy: Sequence[float] | None, levels: Sequence[int], names: Sequence[str]
) -> dict[str, Any]:
  """The estimates of an evaluation.

  Args:
    pass_at: estimates of all problems, by k.
    greedy: share of seeds whose greedy answer is right, for each problem; None: not asked for.
    levels: index into `names` of each problem's level.
  """
  summary: dict[str, Any] = {"pass_at": {str(k): estimate(values) for k, values in pass_at.items()}}
  if greedy is not None:
    share = float(np.mean(greedy))
    low, high = wilson(share, len(greedy))
    summary["greedy"] = {"value": share, "low": low, "high": high}
  if len(names) > 1:
    summary["levels"] = {}
    for index, name in enumerate(names):
      indices = [i for i, level in enumerate(levels) if level == index]
      if indices:
        by_k = {str(k): estimate([values[i] for i in indices]) for k, values in pass_at.items()}
        summary["levels"][name] = {"problems": len(indices), "pass_at": by_k}
  return summary


def by_seed(metrics: Mapping[str, Sequence[float] | np.ndarray]) -> dict[str, dict[str, Any]]:
  """Metrics of a method's own evaluations: mean over seeds, and each seed's; null where undefined."""
  number = lambda x: float(x) if np.isfinite(x) else None
  values = {name: [number(x) for x in of_seeds] for name, of_seeds in sorted(metrics.items())}
  return {name: {"value": number(np.mean(metrics[name])), "seeds": seeds} for name, seeds in values.items()}


def compare(this: dict[str, Any], other: dict[str, Any], name: str) -> dict[str, Any]:
  """Mean differences, this minus other, over the problems that both have answered, for each k of both.

  Raises: UserError: the evaluations are of different problems.
  """
  keys = ("data", "ids")
  if any(this["problems"][key] != other["problems"][key] for key in keys):
    raise UserError(
      f"{name} is an evaluation of other problems: evaluate both with the same task, evaluation.prompts and "
      "evaluation.prompts_seed"
    )
  problems, other_problems = this["problems"], other["problems"]
  pairs = {
    f"pass@{k}": (values, other_problems["pass_at"][k])
    for k, values in problems["pass_at"].items()
    if k in other_problems["pass_at"]
  }
  if problems["greedy"] is not None and other_problems["greedy"] is not None:
    pairs["greedy"] = problems["greedy"], other_problems["greedy"]
  summary = {}
  for metric, (values, other_values) in pairs.items():
    differences = np.asarray(values) - np.asarray(other_values)
    low, high = bootstrap(differences)
    summary[metric] = {"value": float(differences.mean()), "low": low, "high": high}
  return {"with": other["what"], "differences": summary}


def text(record: Mapping[str, Any]) -> str:
  """Record as text for the terminal."""
  problems, seeds = len(record["problems"]["ids"]), record["seeds"]
  of_seeds = f", {len(seeds)} seeds averaged" if len(seeds) > 1 else ""
  lines = [
    visible(record["what"], keep=""),
    f"{problems} held-out problems, {record['samples_per_prompt']} samples of each{of_seeds}",
    INTERVALS,
  ]
  for k, estimates in record["summary"]["pass_at"].items():
    lines.append(_line(f"pass@{k}", estimates))
  if "greedy" in record["summary"]:
    lines.append(_line("greedy", record["summary"]["greedy"]))
  for level, of_level in record["summary"].get("levels", {}).items():
    for k, estimates in of_level["pass_at"].items():
      lines.append(_line(f"{visible(level, keep='')} pass@{k}", estimates) + f"  ({of_level['problems']} problems)")
  lines.append(
    f"unscored {record['unscored']:.3f}, truncated {record['truncated']:.3f}, "
    f"length {record['response_length']:.1f} tokens, {rate(record['tokens_per_second'])} tokens/s"
  )
  for metric, found in record.get("own_evaluations", {}).items():
    lines.append(_own_line(visible(metric, keep=""), found))
  if "comparison" in record:
    lines.append(f"minus {visible(record['comparison']['with'], keep='')}")
    for metric, estimates in record["comparison"]["differences"].items():
      lines.append(_line(metric, estimates, sign="+"))
  return "\n".join(lines)


def _line(name: str, estimate: Mapping[str, Any], sign: str = "") -> str:
  low, high = estimate["low"], estimate["high"]
  bounds = "no interval of one problem" if low is None else f"[{low:{sign}.3f}, {high:{sign}.3f}]"
  return f"  {name:24} {estimate['value']:{sign}.3f}  {bounds}"


def _own_line(name: str, found: Mapping[str, Any]) -> str:
  if found["value"] is None:
    return f"  {name:32} not defined"
  seeds = found["seeds"]
  spread = f"  (seeds {min(seeds):.3f} to {max(seeds):.3f})" if len(seeds) > 1 else ""
  return f"  {name:32} {found['value']:.3f}{spread}"


def write(path: Path, record: Mapping[str, Any]) -> None:
  """Write a record for `read`."""
  with writing(path):
    path.parent.mkdir(parents=True, exist_ok=True)
  write_json(path, record)


def read(path: Path) -> dict[str, Any]:
  """Read a record written by `write`.

  Raises: UserError: the file is missing or is not such a record.
  """
  record = read_json(path)
  if not isinstance(record, dict) or record.get("evaluation_format") != FORMAT:
    raise UserError(f"{path} is not an evaluation of format {FORMAT}: make one with rl_jax.evaluate --output=FILE")
  return record


def as_json(record: Mapping[str, Any]) -> str:
  """The record without its results per problem, as JSON."""
  return json.dumps({key: value for key, value in record.items() if key != "problems"}, indent=2, allow_nan=False)
