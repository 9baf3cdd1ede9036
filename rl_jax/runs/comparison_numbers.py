"""Final numbers of compared runs: accuracy at the end and after equal tokens, with labelled intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rl_jax.runs import comparison, page, statistics
from rl_jax.runs.comparison import FEWEST_SEEDS, Estimate
from rl_jax.runs.final_numbers import over_problems, problems
from rl_jax.runs.formatting import rate
from rl_jax.runs.metric_names import ACCURACY, TOKENS
from rl_jax.runs.record import Record, at
from rl_jax.runs.statistics import FEWEST_FOR_T

Curve = tuple[np.ndarray, np.ndarray]
"""Tokens and accuracy at each evaluation, both [N, S]."""


def final_numbers(runs: Mapping[str, Record]) -> str:
  """Section of final numbers; the first run is the baseline."""
  curves = {name: accuracy for name, record in runs.items() if (accuracy := _accuracy(record)) is not None}
  if not curves:
    return page.section("Final numbers", '<p class="note">No held-out accuracy.</p>')
  ends = {name: tokens[-1].min() for name, (tokens, _) in curves.items()}
  shortest = min(ends, key=lambda name: ends[name])
  budget = ends[shortest]
  equal = {name: _at_budget(*curve, budget) for name, curve in curves.items()}
  first = next(iter(curves))
  with_problems = any(problems(runs[name]) for name in curves)
  columns = [("run", "name"), ("final accuracy", "number")]
  columns += [("95 % over problems", "number")] if with_problems else []
  columns += [(f"at {rate(budget)} tokens", "number"), (f"minus {first}, at {rate(budget)} tokens", "number")]
  columns.append(("seeds", "number"))
  rows = []
  for name, (_, values) in curves.items():
    line = [name, _text(_estimate(values[-1].tolist()))]
    if with_problems:
      asked = problems(runs[name])
      interval = over_problems(float(values[-1].mean()), asked)
      line.append(f"{interval}, {asked} problems" if interval else "")
    difference = "" if name == first else _text(_difference(equal[name], equal[first]), "+")
    rows.append([*line, _text(_estimate(equal[name])), difference, _kind(values.shape[1])])
  return page.section("Final numbers", page.table(columns, rows), note=_note(ends, shortest, with_problems))


def _note(ends: Mapping[str, float], shortest: str, with_problems: bool) -> str:
  text = (
    "Accuracy on held-out prompts [95 % interval over seeds]: the interquartile mean and its bootstrap interval, or, "
    f"with fewer than {FEWEST_SEEDS} seeds, the mean and Student's t; with fewer than {FEWEST_FOR_T} no interval."
  )
  if with_problems:
    text += " Over problems: Wilson's interval for these policies, seeds averaged."
  longer = [f"{name} continues to {rate(end)}" for name, end in ends.items() if end > ends[shortest]]
  if longer:
    text += (
      f" Equal tokens are cut to the shortest run: {shortest} ends at {rate(ends[shortest])}, {', '.join(longer)}."
    )
  return text


def _accuracy(record: Record) -> Curve | None:
  """Curve of accuracy over tokens, or None if either is missing."""
  accuracy = record.series.get("evaluation", {}).get(ACCURACY)
  tokens = record.series.get("train", {}).get(TOKENS)
  if accuracy is None or tokens is None:
    return None
  return np.stack([at(tokens, iteration) for iteration in accuracy.iterations]), accuracy.values


def _at_budget(tokens: np.ndarray, values: np.ndarray, budget: float) -> list[float]:
  return [comparison.at_tokens(tokens[:, seed], values[:, seed], budget) for seed in range(values.shape[1])]


def _estimate(values: Sequence[float]) -> Estimate:
  if len(values) >= FEWEST_SEEDS:
    return comparison.estimate(values)
  if len(values) < FEWEST_FOR_T:
    return Estimate(statistics.mean(values), math.nan, math.nan)
  low, high = statistics.interval(values)
  return Estimate(statistics.mean(values), max(low, 0.0), min(high, 1.0))


def _difference(left: Sequence[float], right: Sequence[float]) -> Estimate:
  if min(len(left), len(right)) >= FEWEST_SEEDS:
    return comparison.difference(left, right)
  several = min(len(left), len(right)) >= FEWEST_FOR_T
  bounds = statistics.difference_interval(left, right) if several else (math.nan, math.nan)
  return Estimate(statistics.mean(left) - statistics.mean(right), *bounds)


def _kind(seeds: int) -> str:
  if seeds < FEWEST_FOR_T:
    return f"{seeds}, no interval"
  return f"{seeds}, " + ("bootstrap" if seeds >= FEWEST_SEEDS else "Student's t")


def _text(estimate: Estimate, sign: str = "") -> str:
  """Text of an estimate. Equal seeds get no interval, since they do not prove that other seeds would be equal too."""
  if estimate.low == estimate.high:
    return f"{estimate.value:{sign}.3f}, all seeds equal"
  if not estimate.low < estimate.high:
    return f"{estimate.value:{sign}.3f}"
  return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"
