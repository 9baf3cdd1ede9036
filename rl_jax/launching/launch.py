"""Training with its record: connects `training`, which knows no files, with `runs`, which knows no training."""

from __future__ import annotations

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
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
from rl_jax.runs.trackers import group as trackers
from rl_jax.runs.visible import visible
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.experiment import check

_LOOK_AGAIN_SECONDS = 0.5


class Terminal(NamedTuple):
  """The command that launched a run, for its record and for the line that says how to resume it."""

  command: list[str]
  stream: TextIO
  stop: Stop


def train(
  config: ConfigDict, workdir: str | Path, terminal: Terminal | None = None, *, is_stage: bool = False
) -> Result:
  """Train or resume the run of a resolved config in `workdir`, after the stage that it starts from.

  Args:
    is_stage: the run is a stage; while another process trains it, this one waits.

  Raises:
    UserError: one line that says what was got and what to do.
  """
  keep_freed_memory()
  keep_programs()
  workdir = Path(workdir)
  try:
    check(config)
    trackers.check(config.logging.get("trackers", ()))  # recorded configs may predate the field
  except UserError as error:
    if not is_stage:
      raise
    raise UserError(f"stage {workdir.name}: {error}") from error
  terminal = terminal or Terminal(["rl_jax.launching.launch.train"], sys.stderr, Stop())
  identity, fields = configs.identity(config)
  section = config.checkpoint
  wait = _wait_for(workdir, terminal) if is_stage else lambda holder: False
  with _opened(workdir, json.loads(configs.to_json(config)), identity, fields, wait) as directory:
    terminal.stop.covers(directory.checkpoints)
    recorder = Recorder(config, identity, directory, terminal.command, terminal.stream)
    keep_best = section.keep_best if config.evaluation.every_iterations else 0  # no metric decides which is the best
    checkpoints = Checkpoints(
      directory.checkpoints,
      keep=section.keep,
      keep_best=keep_best,
      best_metric=section.best_metric,
      fault=functools.partial(checkpoint_fault, directory, identity),
    )
    train_stage = lambda stage, folder: train(stage, folder, terminal, is_stage=True).finished
    try:
      with contextlib.closing(recorder), checkpoints:
        result = RunLoop(config, workdir, recorder, checkpoints, terminal.stop, train_stage, is_stage).go()
    except (UserError, OSError):
      directory.check_in_place()  # a missing folder explains any error with its files
      raise
    finally:
      if not directory.begun:
        directory.leave()  # a run that fails or stops before its first iteration leaves no folder
    reported = result.done_before and directory.report_html.exists()
    # Recorded configs may predate the field.
    if result.iterations and not reported and processes.first() and config.logging.get("report", True):
      recorder.report()
  return result


def _wait_for(folder: Path, terminal: Terminal) -> Callable[[str], bool]:
  """Wait for the process that holds a stage's folder; say so once."""
  said = False

  def wait(holder: str) -> bool:
    nonlocal said
    if not said:
      text = f"{folder} is being trained by another process ({holder}): waiting for it"
      print(visible(text, keep=""), file=terminal.stream, flush=True)
      said = True
    time.sleep(_LOOK_AGAIN_SECONDS)
    if terminal.stop.requested is not None:
      raise KeyboardInterrupt
    return True

  return wait


@contextlib.contextmanager
def _opened(
  workdir: Path, config: dict[str, Any], identity: str, fields: dict[str, Any], wait: Callable[[str], bool]
) -> Iterator[RunDirectory]:
  """Folder of the run, held by its first process. The other processes write everything but checkpoints to a temporary
  folder, so that all processes do the same and the record is written once."""
  if processes.first():
    directory = None
    try:
      directory = open_run(workdir, config, identity, fields, wait)
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
