"""Comparison of several runs on one page: differing fields, curves over iterations and tokens, final numbers, samples.

The first run given is the baseline.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.runs import header, page
from rl_jax.runs.advisory_section import advisory_section
from rl_jax.runs.comparison_numbers import final_numbers
from rl_jax.runs.comparison_samples import samples
from rl_jax.runs.curve_section import curve_section
from rl_jax.runs.differences import ABSENT, differing, shortened
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.figures import png
from rl_jax.runs.files import write_atomically, writing
from rl_jax.runs.formatting import mean_and_spread, number
from rl_jax.runs.metric_names import TOKENS as GENERATED
from rl_jax.runs.panels import ITERATIONS, TOKENS, Panel, compared_panels, is_constant
from rl_jax.runs.record import Record, load, over_tokens

_DECISIVE = ("model", "task", "evaluation")
"""Sections whose fields change the numbers of the same method."""


def write_comparison(
  directories: Sequence[RunDirectory],
  output: Path | None = None,
  across: str = ITERATIONS,
  faults: Sequence[Sequence[str]] = (),
) -> tuple[Path, Path]:
  """Write <output>.png and <output>.html.

  Args:
    output: None: "comparison" in the deepest folder that holds all runs.
    across: the horizontal axis, `ITERATIONS` or `TOKENS` of panels.py.
    faults: parts of each run that have changed since its launches; empty: none has changed in any run.

  Returns: the paths of the picture and the page.

  Raises: UserError: a file of a run is damaged, or the comparison cannot be written.
  """
  runs, common = _named(directories)
  output = output or (common.relative_to(Path.cwd()) if common.is_relative_to(Path.cwd()) else common) / "comparison"
  panels = panels_of(runs, across)
  with writing(output):
    output.parent.mkdir(parents=True, exist_ok=True)
  picture, html = output.with_name(f"{output.name}.png"), output.with_name(f"{output.name}.html")
  title = " · ".join(runs)
  write_atomically(picture, png([panel for panel in panels if not is_constant(panel)] or panels, title))
  write_atomically(html, render(runs, panels, title, _marks(runs, faults)).encode())
  return picture, html


def comparison_page(
  directories: Sequence[RunDirectory], across: str = ITERATIONS, faults: Sequence[Sequence[str]] = ()
) -> str:
  """The page of `write_comparison` as text, without writing it.

  Raises: UserError: a file of a run is damaged.
  """
  runs, _ = _named(directories)
  return render(runs, panels_of(runs, across), " · ".join(runs), _marks(runs, faults))


def _named(directories: Sequence[RunDirectory]) -> tuple[dict[str, Record], Path]:
  """Records by folder name, or by longer paths if names repeat; and the deepest folder that holds all runs."""
  records = [load(directory) for directory in directories]
  paths = [directory.path.resolve() for directory in directories]
  common = Path(os.path.commonpath([path.parent for path in paths]))
  names = [record.name for record in records]
  if len(set(names)) < len(names):
    names = [str(path.relative_to(common)) for path in paths]
  return dict(zip(names, records, strict=True)), common


def _marks(runs: Mapping[str, Record], faults: Sequence[Sequence[str]]) -> list[str]:
  return [mark for name, of_run in zip(runs, faults, strict=False) for mark in header.mark(of_run, name)]


def panels_of(runs: Mapping[str, Record], across: str = ITERATIONS) -> list[Panel]:
  """Compared panels. Over iterations, the first one (accuracy) is followed by the same panel over tokens."""
  countable = all(GENERATED in record.series.get("train", {}) for record in runs.values())
  by_tokens = lambda: compared_panels({name: over_tokens(record) for name, record in runs.items()}, TOKENS)
  if across == TOKENS:
    return by_tokens()
  panels = compared_panels(runs)
  return [*panels[:1], *(by_tokens()[:1] if countable else []), *panels[1:]]


def render(runs: Mapping[str, Record], panels: Sequence[Panel], title: str, marks: Sequence[str] = ()) -> str:
  """The page as text."""
  body = [f"<h1>{page.escape(title)}</h1>", f'<p class="status">{len(runs)} runs side by side</p>']
  body += [*marks, _warning(runs), _differences(runs), *advisory_section(runs)]
  if panels:
    body.append(curve_section(panels, "Line: mean over seeds. Band: ± one standard deviation."))
  body += [final_numbers(runs), samples(runs), _runs(runs)]
  return page.page(f"{title} · rl_jax", body)


def _warning(runs: Mapping[str, Record]) -> str:
  """Warning if the runs differ in more than the method, since the method alone may then not explain their curves."""
  sections = {name.partition(".")[0] for name in _fields(runs)}
  found = [section for section in _DECISIVE if section in sections]
  starts = {(r.config.get("init_from"), (r.launches or [{}])[0].get("start_sha256")) for r in runs.values()}
  found += ["start"] if len(starts) > 1 else []
  if not found:
    return ""
  listed = " and ".join(filter(None, (", ".join(found[:-1]), found[-1])))
  verb = "differ" if len(found) > 1 else "differs"
  text = f"{listed.capitalize()} {verb} between these runs: their curves do not compare methods alone."
  return f'<p class="warning">{page.escape(text)}</p>'


def _differences(runs: Mapping[str, Record]) -> str:
  columns = [("field", "name"), *((name, "text") for name in runs)]
  rows = [
    [field, *("—" if value is ABSENT else shortened(value) for value in values)]
    for field, values in _fields(runs).items()
  ]
  content = page.table(columns, rows) if rows else '<p class="note">All fields of the configs are equal.</p>'
  return page.section("What differs", content)


def _fields(runs: Mapping[str, Record]) -> dict[str, list[Any]]:
  """Differing fields of the configs, method and decisive sections first, logging cadence last."""
  order = ("method", *_DECISIVE, "init_from", "stages")
  last = ("checkpoint", "logging")
  rank = lambda section: order.index(section) if section in order else len(order) + (section in last)
  fields = differing([record.config for record in runs.values()])
  return dict(sorted(fields.items(), key=lambda field: rank(field[0].partition(".")[0])))


def _runs(runs: Mapping[str, Record]) -> str:
  """Table of the runs, one per column."""
  facts = {name: _facts(record) for name, record in runs.items()}
  labels = dict.fromkeys(label for values in facts.values() for label in values)
  columns = [("", "name"), *((name, "text") for name in runs)]
  rows = [[label, *(values.get(label, "") for values in facts.values())] for label in labels]
  note = "Last values written: mean ± standard deviation over seeds."
  return page.section("Runs", page.table(columns, rows), note=note)


def _facts(record: Record) -> dict[str, str]:
  train = record.series.get("train", {})
  values = header.facts(record) | {"seeds": str(record.num_seeds), "iterations": str(record.iterations_done)}
  if GENERATED in train:
    values["tokens per seed"] = number(train[GENERATED].values[-1].mean())
  last = {"response length": "response_length", "entropy": "entropy"}
  return values | {
    label: mean_and_spread(train[metric].values[-1].tolist()) for label, metric in last.items() if metric in train
  }
