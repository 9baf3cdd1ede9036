"""Several runs on one page: curves over iterations and over generated tokens, final numbers, samples side by side.

The first run named is the one that others are compared with.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rl_jax.runs import comparison, credit_map, page
from rl_jax.runs.content import SHORT
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.figures import png, svg
from rl_jax.runs.files import write_atomically, writing
from rl_jax.runs.formatting import mean_and_spread, number, rate
from rl_jax.runs.metric_names import ACCURACY, REWARD, TOKENS, UNEXPLAINED
from rl_jax.runs.panels import Curve, Panel
from rl_jax.runs.record import Record, Series, at, load
from rl_jax.runs.report import one_seed_after_another
from rl_jax.runs.samples import reward_text

PROMPTS_SHOWN = 8

_PANELS = (
  # title, unit, kind, metric, scale, across
  ("Held-out accuracy", "share of prompts", "evaluation", ACCURACY, "unit", "iteration"),
  ("Held-out accuracy by tokens", "share of prompts", "evaluation", ACCURACY, "unit", "generated tokens per seed"),
  ("Training reward", "mean over samples", "train", REWARD, "linear", "iteration"),
  ("Response length", "tokens", "train", "response_length", "linear", "iteration"),
  ("Entropy of the policy", "nats per token", "train", "entropy", "linear", "iteration"),
  ("Credit: rank correlation", "with the truth", "evaluation", "credit/rank_correlation", "linear", "iteration"),
  ("Credit: equal signs", "share of steps", "evaluation", "credit/sign_agreement", "unit", "iteration"),
  ("Credit: unexplained", "share of the truth", "evaluation", UNEXPLAINED, "unit", "iteration"),
)


def write_comparison(directories: Sequence[RunDirectory], output: Path | None = None) -> tuple[Path, Path]:
  """Writes <output>.png and <output>.html.

  Args:
    output: None: "comparison" in the deepest folder that holds all runs.

  Returns: the paths of the picture and the page.

  Raises: UserError: a file of a run is damaged, or the comparison cannot be written.
  """
  records = [load(directory) for directory in directories]
  paths = [directory.path.resolve() for directory in directories]
  common = Path(os.path.commonpath([path.parent for path in paths]))
  names = [record.name for record in records]
  if len(set(names)) < len(names):
    names = [str(path.relative_to(common)) for path in paths]
  runs = dict(zip(names, records, strict=True))
  output = output or (common.relative_to(Path.cwd()) if common.is_relative_to(Path.cwd()) else common) / "comparison"
  panels = compared_panels(runs)
  with writing(output):
    output.parent.mkdir(parents=True, exist_ok=True)
  picture, html = output.with_name(f"{output.name}.png"), output.with_name(f"{output.name}.html")
  title = " · ".join(runs)
  write_atomically(picture, png(panels, title))
  write_atomically(html, render(runs, panels, title).encode())
  return picture, html


def compared_panels(runs: dict[str, Record]) -> list[Panel]:
  """A panel for each metric of `_PANELS` that a run has, a curve for each run that has it."""
  panels = []
  for title, unit, kind, metric, scale, across in _PANELS:
    curves = []
    for name, record in runs.items():
      series = record.series.get(kind, {}).get(metric)
      if series is not None and across != "iteration":
        series = over_tokens(record, series)
      if series is not None:
        curves.append(Curve(name, series))
    if curves:
      panels.append(Panel(title, unit, curves, scale, across=across, seeds="band"))
  return panels


def over_tokens(record: Record, series: Series) -> Series | None:
  """A series over the tokens generated so far, averaged over seeds; None if the run did not count them."""
  tokens = record.series.get("train", {}).get(TOKENS)
  if tokens is None:
    return None
  spent = [at(tokens, iteration).mean() for iteration in series.iterations]
  return Series(np.asarray(spent).round().astype(np.int64), series.values)


def render(runs: dict[str, Record], panels: Sequence[Panel], title: str) -> str:
  """The page as text."""
  body = [f"<h1>{page.escape(title)}</h1>", f'<p class="status">{len(runs)} runs side by side</p>']
  if panels:
    pictures = page.figures([(panel.title, svg(panel)) for panel in panels])
    body.append(page.section("Curves", pictures, note="Line: mean over seeds. Band: ± one standard deviation."))
  body += [_final(runs), _samples(runs), _runs(runs)]
  return page.page(f"{title} · rl_jax", body)


def _runs(runs: dict[str, Record]) -> str:
  columns = [("run", "text"), ("content", "text"), ("method", "text")]
  columns += [(name, "number") for name in ("seeds", "iterations", "tokens per seed", "response length", "entropy")]
  rows = []
  for name, record in runs.items():
    method = record.config.get("method", {}).get("name", "")
    tokens = record.series.get("train", {}).get(TOKENS)
    spent = "" if tokens is None else number(tokens.values[-1].mean())
    last = [_last(record, metric) for metric in ("response_length", "entropy")]
    rows.append([name, record.content[:SHORT], method, record.num_seeds, record.iterations_done, spent, *last])
  note = "Last values written: mean ± standard deviation over seeds."
  return page.section("Runs", page.table(columns, rows), note=note)


def _final(runs: dict[str, Record]) -> str:
  curves = {name: accuracy for name, record in runs.items() if (accuracy := _accuracy(record)) is not None}
  if not curves:
    return page.section("Final numbers", '<p class="note">No held-out accuracy.</p>')
  budget = min(tokens[-1].min() for tokens, _ in curves.values())
  equal = {name: _at_budget(*curve, budget) for name, curve in curves.items()}
  first = next(iter(curves))
  columns = [("run", "text"), ("final accuracy", "number"), (f"accuracy at {rate(budget)} tokens", "number")]
  columns.append((f"minus {first}, at {rate(budget)} tokens", "number"))
  rows = [
    [
      name,
      _estimate(values[-1].tolist()),
      _estimate(equal[name]),
      "" if name == first else _difference(equal[name], equal[first]),
    ]
    for name, (_, values) in curves.items()
  ]
  note = "Accuracy on held-out prompts: interquartile mean over seeds [95 % bootstrap interval]; with fewer than "
  note += f"{comparison.FEWEST_SEEDS} seeds no interval. Equal tokens are those of the run that generated the fewest."
  return page.section("Final numbers", page.table(columns, rows), note=note)


def _accuracy(record: Record) -> tuple[np.ndarray, np.ndarray] | None:
  """Tokens and accuracy at each evaluation, [N, S] both; None where one of them is missing."""
  accuracy = record.series.get("evaluation", {}).get(ACCURACY)
  tokens = record.series.get("train", {}).get(TOKENS)
  if accuracy is None or tokens is None:
    return None
  return np.stack([at(tokens, iteration) for iteration in accuracy.iterations]), accuracy.values


def _at_budget(tokens: np.ndarray, values: np.ndarray, budget: float) -> list[float]:
  return [comparison.at_tokens(tokens[:, seed], values[:, seed], budget) for seed in range(values.shape[1])]


def _estimate(values: Sequence[float]) -> str:
  if len(values) < comparison.FEWEST_SEEDS:
    return f"{comparison.interquartile_mean(np.asarray(values)):.3f}"
  estimate = comparison.estimate(values)
  return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"


def _difference(left: Sequence[float], right: Sequence[float]) -> str:
  difference = comparison.difference(left, right)
  if min(len(left), len(right)) < comparison.FEWEST_SEEDS:
    return f"{difference.value:+.3f}"
  return f"{difference.value:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]"


def _last(record: Record, metric: str) -> str:
  series = record.series.get("train", {}).get(metric)
  return "" if series is None else mean_and_spread(series.values[-1].tolist())


def _samples(runs: dict[str, Record]) -> str:
  """The last iteration that all runs have samples of: the prompts that they share, or else each run's own."""
  shared = set.intersection(*({sample["iteration"] for sample in record.samples} for record in runs.values()))
  if not shared:
    return page.section("Samples", '<p class="note">The runs have no samples of one iteration.</p>')
  last = max(shared)
  by_prompt = {name: _by_prompt(record, last) for name, record in runs.items()}
  first = next(iter(by_prompt.values()))
  common = [key for key in first if all(key in samples for samples in by_prompt.values())]
  scale = credit_map.strongest([s for samples in by_prompt.values() for s in samples.values()])
  if common:
    shown_keys = common[:PROMPTS_SHOWN]
    columns = [("seed", "number"), ("prompt", "text"), *((name, "") for name in runs)]
    rows = [
      [page.escape(seed), page.escape(prompt), *(_cell(samples[seed, prompt], scale) for samples in by_prompt.values())]
      for seed, prompt in shown_keys
    ]
    note = f"Iteration {last}, prompts that all runs were given."
  else:
    columns = [("run", "text"), ("seed", "number"), ("prompt", "text"), ("response", "")]
    rows = [
      [page.escape(name), page.escape(seed), page.escape(prompt), _cell(sample, scale)]
      for name, samples in by_prompt.items()
      for (seed, prompt), sample in list(samples.items())[:PROMPTS_SHOWN]
    ]
    note = f"Iteration {last}; no prompt was shown of all runs."
  note += " Tokens are coloured by their advantage, on one scale: blue and a solid line up, orange and dotted down."
  legend = credit_map.legend(scale) if scale else ""
  return page.section("Samples", legend + page.table_of_html(columns, rows), note=note)


def _by_prompt(record: Record, iteration: int) -> dict[tuple[Any, str], dict[str, Any]]:
  by_prompt: dict[tuple[Any, str], dict[str, Any]] = {}
  for sample in one_seed_after_another([s for s in record.samples if s["iteration"] == iteration]):
    by_prompt.setdefault((sample["seed"], sample["prompt"]), sample)
  return by_prompt


def _cell(sample: dict[str, Any], scale: float) -> str:
  if credit_map.has_credit(sample):
    response = credit_map.tokens(sample, scale)
  else:
    response = f'<div class="text">{page.escape(sample["response"])}</div>'
  return f'{response}<div class="note">reward {page.escape(reward_text(sample["reward"]))}</div>'
