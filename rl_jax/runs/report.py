"""The report of a run: report.png for a paper or a message, report.html for a reader."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rl_jax.runs import credit_map, page
from rl_jax.runs.content import SHORT
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.figures import png, svg
from rl_jax.runs.files import write_atomically
from rl_jax.runs.formatting import mean_and_spread, number
from rl_jax.runs.metric_names import ACCURACY, GREEDY, REWARD, TOKENS
from rl_jax.runs.panels import Panel, main_panels, other_panels
from rl_jax.runs.record import Record, load
from rl_jax.runs.samples import reward_text
from rl_jax.runs.statistics import summary

HEADLINE = ((ACCURACY, "held-out accuracy"), (GREEDY, "greedy"))
SAMPLES_SHOWN = 8
"""Samples of the first and of the last iteration that has any."""
CHARACTERS_SHOWN = 1500
OTHERS_DRAWN = 40

_MAIN_ROWS = (
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


def write_report(directory: RunDirectory) -> tuple[Path, Path]:
  """Writes report.png and report.html from what the run has written so far.

  Works for an unfinished run, for one without metrics (the page says so), for any number of seeds.

  Returns:
    The paths of the picture and the page.

  Raises:
    UserError: if a file of the run is damaged, or the report cannot be written.
  """
  record = load(directory)
  panels = main_panels(record)
  write_atomically(directory.report_png, png(panels, f"{record.name}: {status(record)}"))
  write_atomically(directory.report_html, render(record, panels).encode())
  return directory.report_png, directory.report_html


def status(record: Record) -> str:
  """One line: iterations done, seeds, final held-out accuracy."""
  completed, planned, seeds = record.iterations_done, record.num_iterations, record.num_seeds
  if not seeds:
    return "no metrics yet"
  parts = [f"{completed}/{planned} iterations" if planned is not None else f"{completed} iterations"]
  if planned is not None and completed < planned:
    parts[0] += " (unfinished)"
  parts.append(f"{seeds} seed{'s' * (seeds != 1)}")
  for name, label in HEADLINE:
    series = record.series.get("evaluation", {}).get(name)
    if series is not None:
      parts.append(f"{label} {mean_and_spread(series.values[-1].tolist(), 3)}")
  return " · ".join(parts)


def render(record: Record, panels: Sequence[Panel]) -> str:
  """The page as text."""
  body = [f"<h1>{page.escape(record.name)}</h1>", f'<p class="status">{page.escape(status(record))}</p>']
  body += [f'<p class="note">Content {record.content[:SHORT]}</p>'] if record.content else []
  if panels:
    several = "Thick line: mean over seeds. Band: ± one standard deviation. Thin lines: seeds."
    note = several if record.num_seeds > 1 else "One seed: a curve without a spread."
    hidden = sum(panel.omitted for panel in panels)
    note += f" {hidden} more curves are in the table of all metrics." if hidden else ""
    body.append(page.section("Curves", page.figures([(panel.title, svg(panel)) for panel in panels]), note=note))
  rows = _metric_rows(record)
  main = [row for row in rows if _rank(row[0], row[1]) < len(_MAIN_ROWS)]
  if main:
    several = " Spread: standard deviation over seeds (n - 1). Interval: Student's t of the mean."
    note = "Last values written." + (several if record.num_seeds > 1 else "")
    body.append(page.section("Final numbers", _metric_table(record, main), note=note))
  body.append(_samples(record))
  body += _credit(record)
  others = other_panels(record)
  if rows:
    other_figures = page.figures([(panel.title, svg(panel)) for panel in others[:OTHERS_DRAWN]]) if others else ""
    note = f"Curves of {OTHERS_DRAWN} of {len(others)} metrics." if len(others) > OTHERS_DRAWN else ""
    body.append(page.section("All metrics", _metric_table(record, rows) + other_figures, note=note, folded=True))
  config = page.tree(record.config) if record.config else '<p class="note">No config.json.</p>'
  body.append(page.section("Config", config, folded=True))
  launches = {f"launch {index + 1}": launch for index, launch in enumerate(record.launches)}
  manifest = page.tree(launches) if launches else '<p class="note">No manifest.json.</p>'
  body.append(page.section("Manifest", manifest, folded=True))
  return page.page(f"{record.name} · rl_jax", body)


def _rank(kind: str, name: str) -> int:
  """Place of a metric among `_MAIN_ROWS`, or behind them all. A name there that ends in "_" is a beginning."""
  for index, (row_kind, row_name) in enumerate(_MAIN_ROWS):
    if kind == row_kind and (name == row_name or (row_name.endswith("_") and name.startswith(row_name))):
      return index
  return len(_MAIN_ROWS)


def _metric_rows(record: Record) -> list[list[Any]]:
  """[kind, name, iteration, values] of the last point of each metric, the chief ones first."""
  rows = [
    [kind, name, int(series.iterations[-1]), series.values[-1].tolist()]
    for kind, group in sorted(record.series.items())
    for name, series in sorted(group.items())
    if name != "wall_clock"
  ]
  return sorted(rows, key=lambda row: _rank(row[0], row[1]))


def _metric_table(record: Record, rows: Sequence[Sequence[Any]]) -> str:
  seeds = record.num_seeds
  columns = [("kind", ""), ("metric", "text"), ("iteration", "number"), ("mean" if seeds > 1 else "value", "number")]
  if seeds > 1:
    columns += [("spread", "number"), ("95% interval", "number")]
    columns += [(f"seed {seed}", "number") for seed in range(seeds)]
  cells = []
  for kind, name, iteration, values in rows:
    total = summary(values)
    line = [kind, name, iteration, number(total.mean)]
    if seeds > 1:
      several = len(values) > 1
      line += [number(total.spread), f"{number(total.low)} to {number(total.high)}"] if several else ["", ""]
      line += [number(value) for value in values] + [""] * (seeds - len(values)) if several else [""] * seeds
    cells.append(line)
  return page.table(columns, cells)


def _samples(record: Record) -> str:
  if not record.samples:
    return page.section("Samples", '<p class="note">No samples.</p>')
  iterations = sorted({sample["iteration"] for sample in record.samples})
  shown_iterations = [iterations[0], iterations[-1]] if len(iterations) > 1 else iterations
  rows = []
  for iteration in shown_iterations:
    samples = [sample for sample in record.samples if sample["iteration"] == iteration]
    rows += list(itertools.islice(one_seed_after_another(samples), SAMPLES_SHOWN))
  with_level = any("level" in sample for sample in rows)
  columns = [("iteration", "number"), ("seed", "number"), *([("level", "")] if with_level else [])]
  columns += [("prompt", "text"), ("response", "text"), ("reward", "number")]
  cells = [
    [
      sample["iteration"],
      sample["seed"],
      *([sample.get("level", "")] if with_level else []),
      _shortened(sample["prompt"]),
      _shortened(sample["response"]),
      reward_text(sample["reward"]),
    ]
    for sample in rows
  ]
  note = f"Of iterations {' and '.join(map(str, shown_iterations))}; all are in samples.jsonl."
  return page.section("Samples", page.table(columns, cells), note=note)


def _credit(record: Record) -> list[str]:
  """A section where samples say what each token got; of the last iteration in which any token got something."""
  pushed = [sample for sample in record.samples if credit_map.strongest([sample])]
  credited = [sample for sample in record.samples if credit_map.has_credit(sample)]
  if not credited:
    return []
  last = (pushed or credited)[-1]["iteration"]
  samples = [sample for sample in credited if sample["iteration"] == last]
  shown_samples = list(itertools.islice(one_seed_after_another(samples), SAMPLES_SHOWN))
  scale = credit_map.strongest(shown_samples)
  columns = [("seed", "number"), ("prompt", "text"), ("response, token by token", ""), ("reward", "number")]
  rows = [
    [
      page.escape(sample["seed"]),
      page.escape(_shortened(sample["prompt"])),
      credit_map.tokens(sample, scale),
      page.escape(reward_text(sample["reward"])),
    ]
    for sample in shown_samples
  ]
  note = f"Advantages of iteration {last}: what each token was pushed with. Blue and a solid line: up; orange and a "
  note += "dotted line: down. Equal rewards in a group push nothing." + ("" if scale else " All are 0 here.")
  return [page.section("Credit", credit_map.legend(scale) + page.table_of_html(columns, rows), note=note)]


def one_seed_after_another(samples: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
  """The first sample of each seed, then the second of each, …"""
  by_seed: dict[Any, list[dict[str, Any]]] = {}
  for sample in samples:
    by_seed.setdefault(sample["seed"], []).append(sample)
  rounds = itertools.zip_longest(*by_seed.values())
  return [sample for one_round in rounds for sample in one_round if sample is not None]


def _shortened(text: Any) -> str:
  text = str(text)
  rest = len(text) - CHARACTERS_SHOWN
  return text if rest <= 0 else f"{text[:CHARACTERS_SHOWN]}… ({rest:,} more characters)"
