"""Report of a run: report.png for papers and messages, report.html for reading."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.runs import credit_map, final_numbers, header, page
from rl_jax.runs.advisory_section import advisory_section
from rl_jax.runs.curve_section import curve_section
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.figures import png, svg
from rl_jax.runs.files import write_atomically
from rl_jax.runs.formatting import mean_and_spread
from rl_jax.runs.metric_names import ACCURACY, GREEDY
from rl_jax.runs.panels import ITERATIONS, TOKENS, Panel, is_constant, main_panels, other_panels
from rl_jax.runs.record import Record, load, over_tokens
from rl_jax.runs.samples import reward_text
from rl_jax.runs.stage_section import stage_section
from rl_jax.runs.stages import stages

HEADLINE = ((ACCURACY, "held-out accuracy"), (GREEDY, "greedy"))
SAMPLES_SHOWN = 8
"""Number of samples shown, of the first and of the last iteration that has any."""
CHARACTERS_SHOWN = 1500
OTHERS_DRAWN = 40


def write_report(directory: RunDirectory, across: str = ITERATIONS, faults: Sequence[str] = ()) -> tuple[Path, Path]:
  """Write report.png and report.html from the run's current files.

  The run may be unfinished, may lack metrics (which the page states), and may have any number of seeds.

  Args:
    across: the horizontal axis, `ITERATIONS` or `TOKENS` of panels.py.
    faults: parts that have changed since the run's launches, for a warning at the top of the page.

  Returns:
    The paths of the picture and the page.

  Raises:
    UserError: if a file of the run is damaged, or the report cannot be written.
  """
  record = load(directory)
  panels = panels_of(record, across)
  drawn = [panel for panel in panels if not is_constant(panel)]
  write_atomically(directory.report_png, png(drawn or panels, f"{record.name}: {status(record)}"))
  write_atomically(directory.report_html, render(record, panels, faults, stages_before(directory)).encode())
  return directory.report_png, directory.report_html


def report_page(directory: RunDirectory, across: str = ITERATIONS, faults: Sequence[str] = ()) -> str:
  """The page of `write_report` as text, without writing it.

  Raises:
    UserError: if a file of the run is damaged.
  """
  record = load(directory)
  return render(record, panels_of(record, across), faults, stages_before(directory))


def panels_of(record: Record, across: str) -> list[Panel]:
  """Main panels of a run over iterations or tokens."""
  return main_panels(over_tokens(record) if across == TOKENS else record, across)


def stages_before(directory: RunDirectory) -> dict[str, Record | None]:
  """Records of the run's stages by name, in the order of training; None for one that cannot be read."""
  return {stage.name: _readable(stage.directory) for stage in stages(directory)}


def _readable(directory: RunDirectory | None) -> Record | None:
  """The record of a stage, or None if it cannot be read: the page of the run is made all the same."""
  with contextlib.suppress(UserError):
    return None if directory is None else load(directory)
  return None


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


def render(
  record: Record,
  panels: Sequence[Panel],
  faults: Sequence[str] = (),
  before: Mapping[str, Record | None] = {},  # noqa: B006
) -> str:
  """The page as text. `before` are the records of the run's stages by name, as in `stage_section`."""
  body = [f"<h1>{page.escape(record.name)}</h1>", f'<p class="status">{page.escape(status(record))}</p>']
  body += header.mark(faults)
  body.append(page.facts(header.facts(record), header.WIDE))
  body += advisory_section({record.name: record})
  body += stage_section(record, before)
  if panels:
    several = "Thick line: mean over seeds. Band: ± one standard deviation. Thin lines: seeds."
    note = several if record.num_seeds > 1 else "One seed: a curve without a spread."
    hidden = sum(panel.omitted for panel in panels)
    note += f" {hidden} more curves are in the table of all metrics." if hidden else ""
    body.append(curve_section(panels, note))
  rows = final_numbers.rows(record)
  if main := final_numbers.main_rows(record):
    table = final_numbers.table(record, main)
    body.append(page.section("Final numbers", table, note=final_numbers.note(record)))
  body.append(_samples(record))
  body += _credit(record)
  if rows:
    others = [panel for panel in other_panels(record) if not is_constant(panel)]
    other_figures = page.figures([(panel.title, svg(panel)) for panel in others[:OTHERS_DRAWN]]) if others else ""
    note = f"Curves of {OTHERS_DRAWN} of {len(others)} metrics." if len(others) > OTHERS_DRAWN else ""
    body.append(page.section("All metrics", final_numbers.table(record, rows) + other_figures, note=note, folded=True))
  config = page.tree(record.config) if record.config else '<p class="note">No config.json.</p>'
  body.append(page.section("Config", config, folded=True))
  launches = {f"launch {index + 1}": launch for index, launch in enumerate(record.launches)}
  manifest = page.tree(launches) if launches else '<p class="note">No manifest.json.</p>'
  body.append(page.section("Manifest", manifest, folded=True))
  return page.page(f"{record.name} · rl_jax", body)


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
  columns += [("reward", "number"), ("prompt", "text"), ("response", "text")]
  cells = [
    [
      sample["iteration"],
      sample["seed"],
      *([sample.get("level", "")] if with_level else []),
      reward_text(sample["reward"]),
      _shortened(sample["prompt"]),
      _shortened(sample["response"]),
    ]
    for sample in rows
  ]
  note = f"Of iterations {' and '.join(map(str, shown_iterations))}; all are in samples.jsonl."
  return page.section("Samples", page.table(columns, cells), note=note)


def _credit(record: Record) -> list[str]:
  """Section of the newest samples with nonzero advantages, token by token."""
  credited = [sample for sample in record.samples if credit_map.has_credit(sample)]
  if not credited:
    return []
  pushed = [sample for sample in credited if credit_map.strongest([sample])]
  if not pushed:
    nothing = '<p class="note">No sample has credit: every advantage is 0.</p>'
    return [page.section("Credit", nothing)]
  by_iteration = itertools.groupby(reversed(pushed), key=lambda sample: sample["iteration"])
  newest_first = itertools.chain.from_iterable(one_seed_after_another(list(group)[::-1]) for _, group in by_iteration)
  shown_samples = list(itertools.islice(newest_first, SAMPLES_SHOWN))
  scale = credit_map.strongest(shown_samples)
  columns = [("iteration", "number"), ("seed", "number"), ("reward", "number"), ("prompt", "text")]
  columns.append(("response, token by token", ""))
  rows = [
    [
      page.escape(sample["iteration"]),
      page.escape(sample["seed"]),
      page.escape(reward_text(sample["reward"])),
      page.escape(_shortened(sample["prompt"])),
      credit_map.tokens(sample, scale),
    ]
    for sample in shown_samples
  ]
  note = "Advantage of each token. Blue and a solid line: pushed up; orange and a dotted line: pushed down. "
  note += f"{len(pushed)} of {len(credited)} samples have any; the newest:"
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
