"""Compares methods on one task at one token budget: python -m rl_jax.study experiments/studies/credit.py.

Each entry of the study is tuned over the same small grid, then run with all seeds; what is done already is not done
again. The table, the curves and a figure go to --results.
"""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict

from rl_jax import configs, launch
from rl_jax.runs import study_results
from rl_jax.runs.directory import find_run
from rl_jax.runs.errors import RunError
from rl_jax.runs.study_results import ACCURACY, Entry
from rl_jax.sources import ConfigError, load_file
from rl_jax.stop import Stop
from rl_jax.training.errors import TrainingError
from rl_jax.training.manifests import CheckpointError


class Stopped(Exception):
  """A run was interrupted; the same command goes on."""


class Study(NamedTuple):
  """A study's config with the place of its runs."""

  name: str
  config: ConfigDict
  workdir: Path
  terminal: launch.Terminal

  def run(self, workdir: Path, file: str, overrides: Sequence[str]) -> study_results.Entry:
    """Trains a config in `workdir` to the token budget, and reads it."""
    budget = self.config.token_budget
    config = configs.resolve(file, [*self.config.overrides, *overrides, f"num_tokens={budget}"])
    if not launch.train(config, workdir, self.terminal).finished:
      raise Stopped
    return study_results.read(find_run(workdir), self.config.metrics, budget)

  def tuned(self, name: str) -> tuple[str, ...]:
    """The overrides of the grid with the highest accuracy at the budget, the first of equal ones."""
    tuning, entry = self.config.tuning, self.config.entries[name]
    points = list(_points(tuning.grid))
    if len(points) == 1:
      return points[0]
    scores: dict[tuple[str, ...], float] = {}
    for point in points:
      folder = self.workdir / "tuning" / f"{name}-{'-'.join(point).replace('=', '_')}"
      found = self.run(folder, entry.config, [*entry.overrides, *tuning.overrides, *point])
      scores[point] = float(np.mean(found.at_budget[ACCURACY]))
      print(f"study: {name} {' '.join(point)}: {scores[point]:.3f}", file=self.terminal.stream, flush=True)
    return max(scores, key=scores.__getitem__)

  def entry(self, name: str) -> Entry:
    """Tunes an entry and runs it with all seeds."""
    entry, point = self.config.entries[name], self.tuned(name)
    overrides = [*entry.overrides, *self.config.final_overrides, *point]
    found = self.run(self.workdir / name, entry.config, overrides)
    return found._replace(chosen=point)


def _points(grid: ConfigDict) -> Iterator[tuple[str, ...]]:
  names = sorted(grid)
  for values in itertools.product(*(grid[name] for name in names)):
    yield tuple(f"{name}={value!r}" for name, value in zip(names, values, strict=True))


def read_study(file: str, workdir: Path | None, only: str, terminal: launch.Terminal) -> Study:
  """The study of a file, with the entries named.

  Raises: ConfigError: there is no such study or entry.
  """
  get_config = getattr(load_file(file), "get_config", None)
  if get_config is None:
    raise ConfigError(f"{file} has no get_config(): it is not a study")
  config = get_config()
  if "entries" not in config:
    raise ConfigError(f"{file} has no entries: it is not a study (train an experiment with python -m rl_jax.train)")
  known = list(config.entries)
  chosen = only.split(",") if only else known
  for name in chosen:
    if name not in known:
      raise ConfigError(f"{file} has no entry {name!r} (there are: {', '.join(known)})")
  config.entries = {name: config.entries[name].to_dict() for name in chosen}
  name = Path(file).stem
  return Study(name, config, workdir or Path("runs/studies") / name, terminal)


def main(argv: list[str]) -> int:
  """Runs the command line; returns the exit status."""
  parser = argparse.ArgumentParser(prog="python -m rl_jax.study", description=__doc__.splitlines()[0])
  parser.add_argument("study", metavar="FILE", help="as in experiments/studies/credit.py")
  parser.add_argument("--workdir", type=Path, help="where the runs are kept; runs/studies/<name> by default")
  parser.add_argument("--results", type=Path, help="where table, curves and figure go; the workdir by default")
  parser.add_argument("--only", default="", metavar="A,B", help="some of the entries")
  flags = parser.parse_args(argv)
  stop = Stop()
  stop.listen()
  command = ["python", "-m", "rl_jax.study", *argv]
  try:
    study = read_study(flags.study, flags.workdir, flags.only, launch.Terminal(command, sys.stderr, stop))
    entries = {name: study.entry(name) for name in study.config.entries}
    written = study_results.write(
      flags.results or study.workdir, study.name, json.loads(study.config.to_json()), entries, shlex.join(command)
    )
  except Stopped:
    return 128 + (stop.requested or 0)
  except (ConfigError, RunError, TrainingError, CheckpointError) as error:
    print(f"rl_jax.study: {error}", file=sys.stderr)
    return 1
  print(written.table)
  print(f"written: {', '.join(str(path) for path in written.files)}")
  return 0


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
