"""Section of a page on the stages of a run: the start, the method and the accuracy of each."""

from __future__ import annotations

from collections.abc import Mapping

from rl_jax.runs import header, page
from rl_jax.runs.figures import svg
from rl_jax.runs.formatting import mean_and_spread, number
from rl_jax.runs.metric_names import ACCURACY, TOKENS
from rl_jax.runs.panels import main_panels
from rl_jax.runs.record import Record
from rl_jax.runs.stages import starts
from rl_jax.runs.statistics import mean

_COLUMNS = (
  ("stage", "name"),
  ("method", "name"),
  ("papers", ""),
  ("starts from", ""),
  ("iterations", "number"),
  ("tokens per seed", "number"),
  ("held-out accuracy, first", "number"),
  ("last", "number"),
)


def stage_section(record: Record, before: Mapping[str, Record | None]) -> list[str]:
  """HTML of the stages and then the run itself; none for a run without stages.

  Args:
    before: the records of the stages by name, in the order of training; None for one that is gone.
  """
  if not before:
    return []
  rows = [_row(name, stage) for name, stage in before.items()]
  rows.append(_row(f"this run, {record.name}", record))
  drawn = {name: stage for name, stage in {**before, record.name: record}.items() if stage is not None}
  pictures = []
  for name, stage in drawn.items():
    panel = next((panel for panel in main_panels(stage) if panel.title == "Held-out accuracy"), None)
    if panel is not None:
      pictures.append((name, svg(panel._replace(title=name))))
  note = "In the order of training: each row starts from a row above it."
  return [page.section("Stages", page.table(_COLUMNS, rows) + page.figures(pictures), note=note)]


def _row(name: str, stage: Record | None) -> list[str]:
  if stage is None:
    return [name, "gone, or no longer what the run started from", *[""] * (len(_COLUMNS) - 2)]
  facts, accuracy = header.facts(stage), stage.series.get("evaluation", {}).get(ACCURACY)
  papers = dict.fromkeys(paper for launch in stage.launches for paper in launch.get("papers", ()))
  tokens = stage.series.get("train", {}).get(TOKENS)
  return [
    name,
    facts.get("method", ""),
    ", ".join(papers),
    ", ".join(start.text for start in starts(stage.launches)) or "random parameters",
    number(stage.iterations_done),
    number(mean(tokens.values[-1].tolist())) if tokens is not None else "",
    *(mean_and_spread(accuracy.values[at].tolist(), 3) if accuracy is not None else "" for at in (0, -1)),
  ]
