"""Training with its record: joins `training`, which knows no files, with `runs`, which knows no training."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.errors import UserError
from rl_jax.launching import processes
from rl_jax.launching.compilation import keep_programs
from rl_jax.launching.loop import Result, RunLoop
from rl_jax.launching.memory import keep_freed_memory
from rl_jax.launching.recorder import Recorder
from rl_jax.launching.stop import Stop
from rl_jax.launching.vouching import checkpoint_fault
from rl_jax.runs.directory import RunDirectory, open_run
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.experiment import check


class Terminal(NamedTuple):
  """Who launched a run: for its record, and for the line that says how to go on."""

  command: list[str]
  stream: TextIO
  stop: Stop


def train(config: ConfigDict, workdir: str | Path, terminal: Terminal | None = None) -> Result:
  """Trains the run of a resolved config in `workdir`, or goes on with it; first the stage that it starts from.

  Raises:
    UserError: one line that says what was got and what to do.
  """
  keep_freed_memory()
  keep_programs()
  check(config)
  terminal = terminal or Terminal(["rl_jax.launching.launch.train"], sys.stderr, Stop())
  workdir = Path(workdir)
  identity, fields = configs.identity(config)
  section = config.checkpoint
  with _opened(workdir, json.loads(configs.to_json(config)), identity, fields) as directory:
    recorder = Recorder(config, identity, directory, terminal.command, terminal.stream)
    checkpoints = Checkpoints(
      directory.checkpoints,
      keep=section.keep,
      keep_best=section.keep_best,
      best_metric=section.best_metric,
      fault=functools.partial(checkpoint_fault, directory, identity),
    )
    train_stage = lambda stage, folder: train(stage, folder, terminal).finished
    try:
      with contextlib.closing(recorder), checkpoints:
        result = RunLoop(config, workdir, recorder, checkpoints, terminal.stop, train_stage).go()
    except (UserError, OSError):
      directory.check_in_place()  # a folder that has gone explains whatever went wrong with its files
      if not directory.continued and not directory.manifest.exists():
        directory.leave()  # what is refused before it begins occupies no folder
      raise
    # Recorded configs may be older than the field.
    if result.iterations and processes.first() and config.logging.get("report", True):
      recorder.report()
  return result


@contextlib.contextmanager
def _opened(workdir: Path, config: dict[str, Any], identity: str, fields: dict[str, Any]) -> Iterator[RunDirectory]:
  """The folder of the run, held by its first process. The others write all but checkpoints into one that goes with
  them, so that every process does the same and the record is written once."""
  if processes.first():
    directory = None
    try:
      directory = open_run(workdir, config, identity, fields)
    finally:
      processes.largest(directory is None)
    with directory:
      yield directory
  elif processes.largest(False):
    raise UserError(f"process 0 did not open {workdir}: its message says why")
  else:
    with processes.scratch() as folder, open_run(folder / "run", config, identity, fields) as directory:
      directory.checkpoints = workdir / "checkpoints"
      yield directory
