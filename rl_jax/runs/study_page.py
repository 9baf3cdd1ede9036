"""Pages of a study: gates, figure, claims and a table as Markdown, curves as JSON, the figure as PNG."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_jax.errors import UserError
from rl_jax.runs import claims, figures
from rl_jax.runs.comparison import FEWEST_SEEDS, Estimate, estimate, paired_difference, paired_ratio
from rl_jax.runs.files import plain, read_json, write_atomically
from rl_jax.runs.gates import Gate, already_right, gates
from rl_jax.runs.metric_names import ACCURACY, GREEDY
from rl_jax.runs.panels import Curve, Panel
from rl_jax.runs.record import Series
from rl_jax.runs.study_results import Entry, from_json, specification
from rl_jax.runs.visible import visible

Config = Mapping[str, Any]
Entries = Mapping[str, Entry]
Height = Callable[[Entry], np.ndarray]
"""Function from an entry to a measure [S, K] of its curve."""


class StudyPages(NamedTuple):
  """Result of `write`."""

  table: str
  files: list[Path]


def read(folder: Path, name: str) -> dict[str, Entry]:
  """Entries of a study's pages in a folder; none if there are no pages."""
  file = folder / f"{name}.json"
  if not file.exists():
    return {}
  record = read_json(file)
  # Records older than the field, or than a part of it, have the settings of the study when they were last written.
  settings = lambda key, saved: specification(record["study"], key) | saved.get("specification", {})
  return {key: from_json(saved | {"specification": settings(key, saved)}) for key, saved in record["entries"].items()}


def write(folder: Path, name: str, config: Config, entries: Entries, command: str) -> StudyPages:
  """Write <name>.md, <name>.json and <name>.png.

  Raises: UserError: fewer seeds than an interval needs.
  """
  for entry, result in entries.items():
    if result.tokens.shape[1] < FEWEST_SEEDS:
      raise UserError(f"{entry} has {result.tokens.shape[1]} seeds: a study compares at least {FEWEST_SEEDS}")
  entries = {key: from_json(entry.as_json()) for key, entry in entries.items()}  # as a later write will find them
  table = markdown(name, config, entries, command)
  folder.mkdir(parents=True, exist_ok=True)
  files = [folder / f"{name}.{kind}" for kind in ("md", "json", "png")]
  write_atomically(files[0], table.encode())
  write_atomically(files[1], _compact(_small(config, entries, command)).encode())
  write_atomically(files[2], figures.png(_panels(config, entries), f"{name}: all generated tokens count"))
  return StudyPages(table, files)


def _compact(record: dict[str, Any]) -> str:
  """JSON with one line per field and per list of numbers."""
  text = json.dumps(plain(record), indent=1)
  return re.sub(r"\[[^][{}\"]*\]", lambda numbers: " ".join(numbers[0].split()), text) + "\n"


def markdown(name: str, config: Config, entries: Entries, command: str) -> str:
  """Page with gates, figure, claims, a table of interquartile means with bootstrap intervals, and the tuning."""
  first = next(iter(entries.values()))
  origin = first.origin
  judged = _gates(config, entries)
  lines = [
    *([config["note"], ""] if config.get("note") else []),
    *(line for text in _warnings(entries) for line in (text, "")),
  ]
  if judged:
    lines += [
      "Gates (what a verdict needs; their figures, like the curves, are means over seeds):",
      "",
      *(gate.line for gate in judged),
      "",
    ]
  elif config.get("claims"):
    lines += ["No gates: that credit can pay here and that certainty alone does not has not been checked.", ""]
  if left := [other for other in config.get("entries", {}) if other not in entries]:
    lines += [f"Not run: {', '.join(left)}; nor are their claims judged.", ""]
  recorded = {metric for entry in entries.values() for metric in entry.values}
  if lacking := [metric for metric in config["metrics"] if metric not in recorded]:
    lines += [f"No entry on this page has {', '.join(lacking)}.", ""]
  if others := _other_settings(config, entries):
    lines += [f"Run with other settings than the study has now: {'; '.join(others)}.", ""]
  lines += [f"![Curves of {', '.join(entries)}]({name}.png)", ""]
  failed = [gate.name for gate in judged if not gate.passed]
  if claimed := claims.lines(config.get("claims", {}), entries, failed, config["token_budget"]):
    lines += [*claimed, ""]
  lines += [
    f"At {config['token_budget']:,} generated tokens per seed, {_seeds(first)}: interquartile mean over seeds "
    f"[95 % bootstrap interval over {_sources(first)}]. Differences are taken seed by seed, as entries share seeds and "
    "starts.",
    "",
    *_table(config, entries),
  ]
  lines += ["", *_tuning(config, entries), ""]
  lines += [
    f"Command: `{command}`. {_commits(entries)}, "
    f"{origin.get('cpu_model')}, {origin.get('cpu_threads_allowed')} threads, Python {origin.get('python')}.",
    "",
  ]
  return visible("\n".join(lines))


def _sources(entry: Entry) -> str:
  """Sources of variation that an interval covers, in words."""
  sources = "starts and seeds" if entry.starts > 1 else "seeds"
  return f"{sources}, for sampled accuracy also over prompts" if entry.blocks is not None else sources


def _seeds(entry: Entry) -> str:
  """Number of seeds and of starts, since an interval over seeds says little about other starts."""
  seeds = f"{entry.tokens.shape[1]} seeds"
  return f"{seeds} of {entry.starts} starts" if entry.starts > 1 else seeds


def _commits(entries: Entries) -> str:
  """Commits of the entries, with those that had uncommitted changes."""
  names_by_commit: dict[str, list[str]] = {}
  for name, entry in entries.items():
    state = "clean" if entry.origin.get("git_clean") else "changed"
    names_by_commit.setdefault(f"{entry.origin.get('git_commit')} ({state})", []).append(name)
  if len(names_by_commit) == 1:
    return f"Commit {next(iter(names_by_commit))}"
  return "; ".join(f"Commit {commit}: {', '.join(names)}" for commit, names in names_by_commit.items())


def _other_settings(config: Config, entries: Entries) -> list[str]:
  """Entries that were run before their settings changed, with what they had in place of today's, by that change."""
  names_by_change: dict[str, list[str]] = {}
  for name in config.get("entries", {}):
    then = entries[name].specification if name in entries else {}
    had, has = _settings(then), _settings(specification(config, name))
    if then and had != has:
      either = lambda these, others: ", ".join(sorted(these - others)) or "nothing"
      names_by_change.setdefault(f"with {either(had, has)} for {either(has, had)}", []).append(name)
  return [f"{', '.join(names)} ({change})" for change, names in names_by_change.items()]


def _settings(fields: Mapping[str, Any], prefix: str = "") -> set[str]:
  """Settings of an entry and of its study, as in tuning.token_budget=9, but for those without a value. Overrides of all
  its runs stand for themselves. Configs of the package have a name and a path, which mean the same."""
  found: set[str] = set()
  for key, value in plain(fields).items():
    if key.endswith("overrides"):
      found |= {override if (prefix, key) == ("", "overrides") else f"{prefix}{key}: {override}" for override in value}
    elif key == "config":
      found.add(re.sub(r"^experiments/(\w+)\.py", r"\1", str(value)))
    elif isinstance(value, Mapping):
      found |= _settings(value, "" if key == "study" else f"{prefix}{key}.")
    elif value not in ("", None, []):
      found.add(f"{prefix}{key}={value}")
  return found


def _warnings(entries: Entries) -> list[str]:
  """Warnings about the starts, each once."""
  starts = ({GREEDY: entry.values[GREEDY][0]} for entry in entries.values() if GREEDY in entry.values)
  return list(dict.fromkeys(text for start in starts if (text := already_right(start))))


def _gates(config: Config, entries: Entries) -> list[Gate]:
  roles = config.get("gates", {})
  if not roles:
    return []
  return gates(roles, config["baseline"], entries, ACCURACY, config["token_budget"])


def _table(config: Config, entries: Entries) -> list[str]:
  """Rows of the table, with a column for each quantity known of any entry."""
  columns = _columns(config, entries)
  lines = [f"| method | tuned | {' | '.join(columns)} |", f"|---|---|{'---|' * len(columns)}"]
  for name, entry in entries.items():
    cells = [column(name, entry) for column in columns.values()]
    lines.append(f"| {name} | {' '.join(entry.chosen)} | {' | '.join(cells)} |")
  return lines


def _columns(config: Config, entries: Entries) -> dict[str, Callable[[str, Entry], str]]:
  budget, baseline = config["token_budget"], config["baseline"]
  columns: dict[str, Callable[[str, Entry], str]] = {}
  for metric in config["metrics"]:
    if any(metric in entry.at_budget for entry in entries.values()):
      columns[metric] = functools.partial(_metric_cell, metric, budget)
  if any(entry.final is not None for entry in entries.values()):
    columns[f"at the end, {config['final_samples']} answers per prompt"] = lambda name, entry: (
      "" if entry.final is None else _cell(estimate(entry.final, entry.starts))
    )
  if any(GREEDY in entry.values for entry in entries.values()):
    columns["greedy accuracy of the start"] = lambda name, entry: (
      f"{entry.values[GREEDY][0].mean():.3f}" if GREEDY in entry.values else ""
    )
  if any(entry.iterations for entry in entries.values()):
    columns["updates at the budget"] = lambda name, entry: f"{entry.end('updates', budget):.0f}"
  base = entries.get(baseline)
  if base is not None and ACCURACY in config["metrics"]:
    columns[f"accuracy minus {baseline}"] = lambda name, entry: (
      ""
      if entry is base
      else _cell(paired_difference(_at_budget(entry, budget), _at_budget(base, budget), entry.starts), signed=True)
    )
  oracle = entries.get(config.get("gates", {}).get("oracle", ""))
  if base is not None and oracle is not None:
    columns |= _gap_columns(entries, budget, base, oracle)
  columns["train seconds"] = lambda name, entry: f"{entry.seconds:.0f}"
  if any(entry.tuning_seconds for entry in entries.values()):
    columns["seconds of tuning"] = lambda name, entry: f"{entry.tuning_seconds:.0f}" if entry.tuning_seconds else ""
  return columns


def _metric_cell(metric: str, budget: float, name: str, entry: Entry) -> str:
  known = metric in entry.at_budget
  return _cell(estimate(entry.value_at(metric, "tokens", budget), entry.starts)) if known else ""


def _at_budget(entry: Entry, budget: float) -> np.ndarray:
  return entry.value_at(ACCURACY, "tokens", budget)


def _gap_columns(entries: Entries, budget: float, base: Entry, oracle: Entry) -> dict[str, Callable[[str, Entry], str]]:
  """Columns of the mean height of curves, and of the share of the gap between baseline and oracle that an entry closes.

  Means are up to the budget of tokens, and up to the number of updates that all entries have made. Seeds are paired, as
  entries share seeds and starts. The share is left out if they do not separate the oracle from the baseline.
  """
  updates = min(entry.end("updates", budget) for entry in entries.values())
  heights: dict[str, Height] = {
    "tokens": lambda entry: entry.mean_over(ACCURACY, "tokens", budget),
    f"{updates:.0f} updates": lambda entry: entry.mean_over(ACCURACY, "updates", updates),
  }
  columns: dict[str, Callable[[str, Entry], str]] = {}
  for across, height in heights.items():
    columns[f"mean accuracy over {across}"] = functools.partial(_height_cell, height)
    columns[f"share of the gap, {across}"] = functools.partial(_share, height, base, oracle)
  return columns


def _height_cell(height: Height, name: str, entry: Entry) -> str:
  return _cell(estimate(height(entry), entry.starts))


def _share(height: Height, base: Entry, oracle: Entry, name: str, entry: Entry) -> str:
  gap = height(oracle) - height(base)
  if estimate(gap, base.starts).low <= 0:
    return ""
  ratio = paired_ratio(height(entry) - height(base), gap, base.starts)
  fixed = entry is base or entry is oracle
  return f"{ratio.value:.2f}" if fixed else f"{ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]"


def _tuning(config: Config, entries: Entries) -> list[str]:
  tuning = config["tuning"]
  grid = dict(tuning["grid"]) | ({"learning_rate": tuning["learning_rates"]} if tuning.get("learning_rates") else {})
  own = any("side_by_side" in entry for entry in config.get("entries", {}).values())
  if not grid and not own:
    return ["Tuning: none, for any method."]
  points = "; ".join(f"{name} in {', '.join(map(str, values))}" for name, values in grid.items())
  budget = f"{tuning['token_budget']:,} tokens" if tuning.get("token_budget") else "same budget"
  by = "area under the token curve" if tuning.get("learning_rates") else "accuracy at the budget"
  by = f"{tuning['metric']} at the budget" if tuning.get("metric") else by
  points = "points of its own" if own else points
  lines = [f"Tuning: {points} ({', '.join(tuning['overrides'])}, {budget}) for every method, chosen by the {by}."]
  tried = {name: entry.tried for name, entry in entries.items() if entry.tried}
  if tried:
    heads = list(dict.fromkeys(point for scores in tried.values() for point in scores))
    lines += ["", f"| method | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
    cell = lambda scores, point: f"{scores[point]:.3f}" if point in scores else ""
    lines += [f"| {name} | {' | '.join(cell(scores, p) for p in heads)} |" for name, scores in tried.items()]
  return lines


def _cell(estimated: Estimate, *, signed: bool = False) -> str:
  form = "+.3f" if signed else ".3f"
  return f"{estimated.value:{form}} [{estimated.low:{form}}, {estimated.high:{form}}]"


def _small(config: Config, entries: Entries, command: str) -> dict[str, Any]:
  """Data of table and figure, at few points."""
  gate = [{"name": g.name, "passed": g.passed, "figures": g.figures} for g in _gates(config, entries)]
  return {
    "command": command, "study": config, "gates": gate,
    "entries": {name: entry.as_json() for name, entry in entries.items()},
  }  # fmt: skip


def _panels(config: Config, entries: Entries) -> list[Panel]:
  """One panel per metric over tokens; for a study with gates also accuracy over updates and sequential tokens."""
  panels, styles = [], _styles(config, entries)
  for metric in config["metrics"]:
    measured = {name: entry for name, entry in entries.items() if metric in entry.values}
    axes = {"tokens": "generated tokens"}
    if metric == ACCURACY and config.get("gates"):
      axes |= {"updates": "optimiser updates", "sequential_tokens": "sequential tokens"}
    for axis, words in axes.items():
      drawn = {name: entry for name, entry in measured.items() if _has(entry, axis)}
      curves = [_curve(entry, name, metric, axis, *styles[name]) for name, entry in drawn.items()]
      if curves:
        unit = "share of answers" if metric in (ACCURACY, GREEDY) else ""
        panels.append(Panel(metric, unit, curves, across=words, seeds="hidden"))
  return panels


def _has(entry: Entry, axis: str) -> bool:
  return {"tokens": True, "updates": bool(entry.iterations)}.get(axis, entry.sequential is not None)


def _styles(config: Config, entries: Entries) -> dict[str, tuple[bool, int]]:
  """Styles of entries, the same in all panels: (True for controls, drawn in ink as bounds of the methods; index)."""
  controls = set(config.get("gates", {}).values())
  split = [name for name in entries if name not in controls], [name for name in entries if name in controls]
  return {name: (bool(in_ink), place) for in_ink, names in enumerate(split) for place, name in enumerate(names)}


def _curve(entry: Entry, name: str, metric: str, axis: str, in_ink: bool, style: int) -> Curve:
  """Curve of the mean over seeds."""
  across = entry.across(axis).mean(axis=1).astype(np.int64)
  return Curve(name, Series(across, entry.values[metric]), in_ink=in_ink, style=style)
