"""Compare methods on one task at one token budget: python -m rl_jax.study horizon, or horizon:16 for a variant.

Each entry of the study is tuned over the same small grid, then run with all seeds; finished runs are read, not
repeated. The page, curves and figure of the entries so far are written to --results after each entry. --only runs
single entries and keeps those already in --results. --pages rewrites the pages and runs nothing.
"""

from __future__ import annotations

import itertools
import json
import math
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.configuration.command_line import Parser, to_path
from rl_jax.configuration.parts import study_file
from rl_jax.errors import UserError
from rl_jax.evaluate import evaluate
from rl_jax.launching import launch
from rl_jax.launching.commands import command
from rl_jax.launching.stop import Stop
from rl_jax.runs import evaluations, study_page, study_results
from rl_jax.runs.comparison import area_under
from rl_jax.runs.content import SHORT, content_sha256
from rl_jax.runs.directory import find_run
from rl_jax.runs.files import read_json
from rl_jax.runs.metric_names import ACCURACY, TOKENS
from rl_jax.runs.record import load
from rl_jax.runs.study_results import Entry


class Stopped(Exception):
  """A run was interrupted; the same command resumes it."""


class Tuned(NamedTuple):
  """Scores and cost of tuning an entry."""

  scores: dict[tuple[str, ...], float]
  """Score of each point, keyed by its overrides."""
  seconds: float
  """Training seconds of all its runs."""


class Study(NamedTuple):
  """A study's config and the folder of its runs."""

  name: str
  config: ConfigDict
  workdir: Path
  terminal: launch.Terminal
  launched: list[Path]
  """Runs made by this command."""

  def run(self, workdir: Path, file: str, overrides: Sequence[str], budget: int) -> study_results.Entry:
    """Train a config in `workdir` to a token budget, unless that is done, and read the run."""
    config = configs.resolve(file, [*self.config.overrides, *overrides, f"num_tokens={budget}"])
    if not _done(workdir, config, budget):
      if not launch.train(config, workdir, self.terminal).finished:
        raise Stopped
      self.launched.append(workdir)
    return study_results.read(find_run(workdir), self.config.metrics, budget)

  def tuned(self, name: str) -> Tuned:
    """Score of each point that tuning tries: points of the grid, times those that members of a run try side by side. A
    single point needs no tuning.

    The score is `tuning.metric` at the budget; without one it is the area under the curve over tokens of points side by
    side, and else the accuracy at the budget."""
    tuning, beside = self.config.tuning, self._side_by_side(name)
    points = list(_points(tuning.grid))
    if len(points) == 1 and not beside:
      return Tuned({points[0]: float("nan")}, 0.0)
    scores: dict[tuple[str, ...], float] = {}
    seconds = 0.0
    for point in points:
      entry = self._at_point(name, point)
      seconds += entry.seconds
      if not beside:
        scores[point] = float(np.mean(entry.at_budget[tuning.get("metric") or ACCURACY]))
      # Each given as one of several, so that rates of other models scale with it.
      fields = [[f"{field}=({value!r},)" for value in values] for field, values in beside.items()]
      together = list(zip(*fields, strict=True))
      for index, values in enumerate(together):
        of_point = slice(index, None, len(together))
        if tuning.get("metric"):
          scores[(*point, *values)] = float(np.mean(entry.at_budget[tuning.metric][of_point]))
        else:
          scores[(*point, *values)] = _score(entry, of_point, self._tuning_budget)
    for point, score in scores.items():
      self.say(f"{name} {' '.join(point)}: {score:.3f}")
    return Tuned(scores, seconds)

  def _side_by_side(self, name: str) -> dict[str, tuple]:
    """Values by field that the members of a tuning run take in turn: the entry's own, or the study's learning rates."""
    rates = self.config.tuning.get("learning_rates", ())
    return dict(self.config.entries[name].get("side_by_side") or ({"learning_rates": rates} if rates else {}))

  def say(self, text: str) -> None:
    """Print a progress line."""
    print(f"study: {text}", file=self.terminal.stream, flush=True)

  def _at_point(self, name: str, point: tuple[str, ...]) -> Entry:
    tuning, entry = self.config.tuning, self.config.entries[name]
    # Next to the final runs, so that all share their stages.
    folder = self.workdir / "-".join(["tuning", name, *point]).replace("=", "_")
    beside = [f"{field}={tuple(values)}" for field, values in self._side_by_side(name).items()]
    overrides = [*entry.overrides, *tuning.overrides, *entry.get("tuning_overrides", ()), *beside, *point]
    return self.run(folder, entry.config, overrides, self._tuning_budget)

  @property
  def _tuning_budget(self) -> int:
    return self.config.tuning.get("token_budget") or self.config.token_budget

  def entry(self, name: str) -> Entry:
    """Tune an entry, then run it with all seeds at the best point (the first of several)."""
    entry, (scores, seconds) = self.config.entries[name], self.tuned(name)
    point = max(scores, key=lambda point: -math.inf if math.isnan(scores[point]) else scores[point])
    overrides = [*entry.overrides, *self.config.final_overrides, *point]
    result = self.run(self.workdir / name, entry.config, overrides, self.config.token_budget)
    if self.config.get("final_samples"):
      result = result._replace(final=self.at_end(name, overrides))
    tried = {" ".join(point): score for point, score in scores.items()} if len(scores) > 1 else {}
    settings = study_results.specification(json.loads(self.config.to_json()), name)
    return result._replace(chosen=point, tried=tried, tuning_seconds=seconds, specification=settings)

  def at_end(self, name: str, overrides: Sequence[str]) -> np.ndarray:
    """Share of right answers [S, P] of each seed to each held-out problem, over several samples, at the end of the run.
    It is cached next to the run, keyed by the run's content hash."""
    run, samples = self.workdir / name, self.config.final_samples
    file = self.workdir / "evaluations" / f"{name}-{content_sha256(find_run(run))[:SHORT]}-{samples}.json"
    if not file.exists():
      self.say(f"{name}: {samples} answers to each held-out problem")
      changes = [f"evaluation.samples_per_prompt={samples}", "evaluation.greedy=False"]
      config = configs.resolve(self.config.entries[name].config, [*self.config.overrides, *overrides, *changes])
      evaluations.write(file, evaluate(config, run))
    return np.asarray(evaluations.read(file)["problems"]["correct"], np.float64) / samples

  def write(self, folder: Path | None, entries: Mapping[str, Entry], command: str) -> study_page.StudyPages:
    """Pages of the entries so far and of those already in the folder, in the study's order.

    Raises: UserError: there are none.
    """
    folder = folder or self.workdir
    there = study_page.read(folder, self.name) | dict(entries)
    known = {name: there[name] for name in self.config.entries if name in there}
    if not known:
      raise UserError(f"{folder} has no entry of {self.name}: run some first, without --pages")
    return study_page.write(folder, self.name, json.loads(self.config.to_json()), known, command)


def _done(workdir: Path, config: ConfigDict, budget: int) -> bool:
  """Return whether the run of a config exists and has reached the budget in every seed."""
  try:
    directory = find_run(workdir)
    spent = load(directory).series.get("train", {}).get(TOKENS)
  except UserError:
    return False
  identity, _ = configs.identity(config)
  same_run = read_json(directory.identity).get("identity") == identity
  return same_run and spent is not None and spent.values[-1].min() >= budget


def _score(entry: Entry, columns: slice, budget: float) -> float:
  """Mean area under the accuracy curves of some members, over tokens up to a budget."""
  curves = zip(entry.tokens.T[columns], entry.values[ACCURACY].T[columns], strict=True)
  return float(np.mean([area_under(tokens, curve, budget) for tokens, curve in curves]))


def _points(grid: ConfigDict) -> Iterator[tuple[str, ...]]:
  names = sorted(grid)
  for values in itertools.product(*(grid[name] for name in names)):
    yield tuple(f"{name}={value!r}" for name, value in zip(names, values, strict=True))


def read_study(file_with_variant: str, workdir: Path | None, terminal: launch.Terminal) -> Study:
  """Study of a name or file, with an optional variant, as in horizon:16.

  Raises: UserError: there is no such study or variant.
  """
  config = configs.from_file(file_with_variant, study_file, "a study")
  file, variant = configs.split_variant(file_with_variant)
  if "entries" not in config:
    raise UserError(f"{file} has no entries: it is not a study (train an experiment with python -m rl_jax.train)")
  name = "_".join(filter(None, (Path(file).stem, variant)))
  return Study(name, config, workdir or Path("runs/studies") / (config.get("runs") or name), terminal, [])


def selected_entries(study: Study, only: str) -> list[str]:
  """Names of the entries to run.

  Raises: UserError: there is no such entry.
  """
  names = list(study.config.entries)
  selected = only.split(",") if only else names
  for name in selected:
    if name not in names:
      raise UserError(f"{study.name} has no entry {name!r} (there are: {', '.join(names)})")
  return selected


@command("rl_jax.study")
def main(argv: list[str]) -> int:
  """Run the command line; return the exit status."""
  parser = Parser("study", __doc__.splitlines()[0])
  parser.add_argument("study", metavar="STUDY", help="a name, as in horizon, or a file")
  kept = "folder of the runs; by default runs/studies/<name>, or the folder that the study shares with others"
  parser.add_argument("--workdir", metavar="FOLDER", type=to_path, help=kept)
  written = "folder of table, curves and figure; the workdir by default"
  parser.add_argument("--results", metavar="FOLDER", type=to_path, help=written)
  parser.add_argument("--only", default="", metavar="A,B", help="some of the entries")
  parser.add_argument("--pages", action="store_true", help="rewrite the pages of --results, run nothing")
  flags = parser.parse(argv)
  stop = Stop()
  stop.listen()
  launched_by = ["python", "-m", "rl_jax.study", *argv]
  # The command of the whole page, not of the entries made by this one.
  of_page = ["python", "-m", "rl_jax.study", flags.study, *([f"--results={flags.results}"] if flags.results else [])]
  study = read_study(flags.study, flags.workdir, launch.Terminal(launched_by, sys.stderr, stop))
  names = [] if flags.pages else selected_entries(study, flags.only)
  entries: dict[str, Entry] = {}
  started = time.monotonic()
  try:
    for number, name in enumerate(names, 1):
      before = len(study.launched)
      study.say(f"entry {number} of {len(names)}, {name}")
      entries[name] = study.entry(name)
      if len(study.launched) > before:
        study.write(flags.results, entries, shlex.join(of_page))
        minutes = (time.monotonic() - started) / 60
        study.say(f"{number} of {len(names)} entries done in {minutes:.0f} minutes")
    pages = study.write(flags.results, entries, shlex.join(of_page))
  except Stopped:
    return 128 + (stop.requested or 0)
  print(pages.table)
  print(f"written: {', '.join(str(path) for path in pages.files)}")
  return 0


if __name__ == "__main__":
  sys.exit(main())
