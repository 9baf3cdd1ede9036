"""What a study found: each run at the token budget, the table, the claims, the curves, the figure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rl_jax.runs import figures
from rl_jax.runs.comparison import FEWEST_SEEDS, Estimate, at_tokens, difference, estimate, verdict
from rl_jax.runs.curve import ORIGIN
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.errors import RunError
from rl_jax.runs.files import read_json, write_atomically
from rl_jax.runs.manifest import read_launches
from rl_jax.runs.metrics import read_metrics
from rl_jax.runs.panels import Curve, Panel
from rl_jax.runs.record import Series, at, load

ACCURACY = "held_out/sampled_accuracy"
POINTS = 25
"""Of each committed curve."""


class Entry(NamedTuple):
  """One method of a study."""

  tokens: np.ndarray
  """[N, S] tokens that each of S seeds had generated at N evaluations."""
  values: dict[str, np.ndarray]
  """[N, S] by metric; a metric that the run has not is left out."""
  at_budget: dict[str, list[float]]
  """A number per seed, at exactly the budget."""
  seconds: float
  origin: dict[str, Any]
  chosen: tuple[str, ...] = ()
  """Overrides that tuning chose."""
  iterations: tuple[int, ...] = ()
  """Of the N evaluations."""


class Written(NamedTuple):
  """What `write` made."""

  table: str
  files: list[Path]


def read(directory: RunDirectory, metrics: Sequence[str], budget: float) -> Entry:
  """A run as an entry.

  Raises: RunError: it has not generated as many tokens, or has no accuracy.
  """
  series = load(directory).series
  evaluation, train = series.get("evaluation", {}), series.get("train", {})
  if ACCURACY not in evaluation or "generated_tokens" not in train:
    raise RunError(f"{directory.path} has no {ACCURACY}: it is no run that a study can read")
  points, tokens = evaluation[ACCURACY].iterations, train["generated_tokens"]
  spent = np.stack([at(tokens, iteration) for iteration in points])
  if spent[-1].min() < budget:
    raise RunError(
      f"{directory.path} ended at {spent[-1].min():.0f} of {budget:.0f} tokens: raise num_iterations in the study"
    )
  found = {name: evaluation[name] for name in metrics if name in evaluation}
  values = {name: np.stack([at(one, iteration) for iteration in points]) for name, one in found.items()}
  at_budget = {
    name: [at_tokens(spent[:, seed], curve[:, seed], budget) for seed in range(spent.shape[1])]
    for name, curve in values.items()
  }
  launches = read_launches(directory.manifest)
  origin = {name: launches[0].get(name) for name in ORIGIN} | {"identity": read_json(directory.identity)["identity"]}
  seconds = sum(line["seconds"] for line in read_metrics(directory.timings))
  return Entry(spent, values, at_budget, seconds, origin, iterations=tuple(points.tolist()))


def write(folder: Path, name: str, config: Mapping[str, Any], entries: Mapping[str, Entry], command: str) -> Written:
  """Writes <name>.md, <name>.json and <name>.png.

  Raises: RunError: fewer seeds than an interval needs.
  """
  for entry, found in entries.items():
    if found.tokens.shape[1] < FEWEST_SEEDS:
      raise RunError(f"{entry} has {found.tokens.shape[1]} seeds: a study compares at least {FEWEST_SEEDS}")
  claims = [_claim(title, claim, entries) for title, claim in config.get("claims", {}).items()]
  table = markdown(config, entries, [claim for claim in claims if claim], command)
  folder.mkdir(parents=True, exist_ok=True)
  files = [folder / f"{name}.{kind}" for kind in ("md", "json", "png")]
  write_atomically(files[0], table.encode())
  write_atomically(files[1], (json.dumps(_small(config, entries, command), indent=1) + "\n").encode())
  write_atomically(files[2], figures.png(_panels(config, entries), f"{name}: all generated tokens count"))
  return Written(table, files)


def markdown(config: Mapping[str, Any], entries: Mapping[str, Entry], claims: Sequence[str], command: str) -> str:
  """The table: interquartile means over seeds with bootstrap intervals, and differences to the baseline."""
  metrics = [name for name in config["metrics"] if any(name in entry.at_budget for entry in entries.values())]
  first = next(iter(entries.values()))
  origin, seeds = first.origin, first.tokens.shape[1]
  lines = [
    f"At {config['token_budget']:,} generated tokens per seed, {seeds} seeds: interquartile mean "
    "[95 % bootstrap interval over seeds].",
    "",
    f"| method | tuned | {' | '.join(metrics)} | accuracy minus {config['baseline']} | train seconds |",
    f"|---|---|{'---|' * (len(metrics) + 2)}",
  ]
  base = entries.get(config["baseline"])
  for name, entry in entries.items():
    cells = [_cell(estimate(entry.at_budget[m])) if m in entry.at_budget else "" for m in metrics]
    gap = ""
    if base is not None and entry is not base:
      gap = _cell(difference(entry.at_budget[ACCURACY], base.at_budget[ACCURACY]), signed=True)
    lines.append(f"| {name} | {' '.join(entry.chosen)} | {' | '.join(cells)} | {gap} | {entry.seconds:.0f} |")
  lines += ["", "Claims (at this size and budget):", "", *claims] if claims else []
  lines += [
    "",
    f"Command: `{command}`. Commit {origin.get('git_commit')} ({'clean' if origin.get('git_clean') else 'changed'}), "
    f"{origin.get('cpu_model')}, {origin.get('cpu_threads_allowed')} threads, Python {origin.get('python')}. Tuning: "
    f"{_grid(config)}.",
    "",
  ]
  return "\n".join(lines)


def _grid(config: Mapping[str, Any]) -> str:
  tuning = config["tuning"]
  if not tuning["grid"]:
    return "none, for any method"
  grid = "; ".join(f"{name} in {', '.join(map(str, values))}" for name, values in tuning["grid"].items())
  return f"{grid} ({', '.join(tuning['overrides'])}, same budget) for every method"


def _cell(found: Estimate, *, signed: bool = False) -> str:
  form = "+.3f" if signed else ".3f"
  return f"{found.value:{form}} [{found.low:{form}}, {found.high:{form}}]"


def _claim(title: str, claim: Mapping[str, Any], entries: Mapping[str, Entry]) -> str:
  """One line; "" if the study was run without an entry of it."""
  left, right, metric = (claim[key] for key in ("left", "right", "metric"))
  if left not in entries or right not in entries:
    return ""
  values = [entries[name].at_budget.get(metric) for name in (left, right)]
  if values[0] is None or values[1] is None:
    return f"- {title}: not measured ({metric})"
  found = difference(values[0], values[1])
  said = verdict(found, above=claim.get("direction", "above") == "above")
  return f"- {title}: **{said}** ({metric}, {left} minus {right}: {_cell(found, signed=True)})"


def _small(config: Mapping[str, Any], entries: Mapping[str, Entry], command: str) -> dict[str, Any]:
  """Everything that table and figure are made of, at few points."""

  def shortened(entry: Entry) -> dict[str, Any]:
    count = len(entry.tokens)
    kept = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    short = lambda x: [[rounded(value) for value in row] for row in x[kept].tolist()]
    return {
      "chosen": list(entry.chosen),
      "seconds": round(entry.seconds, 1),
      "at_budget": {name: [round(value, 5) for value in values] for name, values in entry.at_budget.items()},
      "iterations": [entry.iterations[i] for i in kept] if entry.iterations else [],
      "tokens": short(entry.tokens),
      "values": {name: short(values) for name, values in entry.values.items()},
      **entry.origin,
    }

  return {"command": command, "study": config, "entries": {name: shortened(entry) for name, entry in entries.items()}}


def rounded(value: float) -> float:
  """A number of a curve as it is committed: five digits."""
  return float(f"{value:.5g}")


def _panels(config: Mapping[str, Any], entries: Mapping[str, Entry]) -> list[Panel]:
  """One panel for each metric, each entry's mean over tokens."""
  units = {ACCURACY: "share of prompts"}
  panels = []
  for metric in config["metrics"]:
    curves = [
      Curve(name, Series(entry.tokens.mean(axis=1).astype(np.int64), entry.values[metric]))
      for name, entry in entries.items()
      if metric in entry.values
    ]
    if curves:
      panels.append(Panel(metric, units.get(metric, ""), curves, across="generated tokens", seeds="hidden"))
  return panels
