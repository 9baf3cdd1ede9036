"""Trackers of a launch, by name. Trackers are views: one that fails is dropped and the run goes on."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rl_jax.errors import UserError
from rl_jax.inputs.users_code import one_line
from rl_jax.runs.files import read_json, write_json
from rl_jax.runs.trackers.tracker import TrackedRun, Tracker

NAMES = ("mlflow", "trackio", "wandb")
"""Trackers by the name of their package, of an extra of this one, and of a module beside this one."""
IDS = "ids.json"
"""File with the name that each tracker knows the run by."""


def check(names: Sequence[str]) -> None:
  """Check the trackers of a config before a run begins.

  Raises: UserError: one is unknown, named twice, or cannot be imported.
  """
  for name in names:
    if name not in NAMES:
      raise UserError(f"logging.trackers: got {name!r}, want some of {', '.join(NAMES)}")
    if list(names).count(name) > 1:
      raise UserError(f"logging.trackers: {name!r} is there twice")
    try:
      importlib.import_module(name)
    except ImportError as error:
      raise UserError(
        f"logging.trackers: {name!r} cannot be imported ({error}): pip install 'rl-jax[{name}]', or leave it out"
      ) from error


class Trackers:
  """Trackers of one launch, each with its own failures.

  Args:
    names: trackers to open.
    say: prints a line for the user.
  """

  def __init__(self, names: Sequence[str] = (), say: Callable[[str], None] = print) -> None:
    self._names = names
    self._say = say
    self._open: dict[str, Tracker] = {}

  def open(self, name: str, folder: Path, config: Mapping[str, Any]) -> None:
    """Begin or continue the run in each tracker.

    Args:
      name: name of the run.
      folder: folder for files of trackers, made if there are any.
    """
    for tracker in self._names:
      with self._dropping(tracker):
        folder.mkdir(exist_ok=True)
        ids = read_json(folder / IDS) if (folder / IDS).exists() else {}
        module = importlib.import_module(f"{__package__}.{tracker}")
        self._open[tracker] = module.open_run(TrackedRun(name, folder, config, ids.get(tracker, "")))
        write_json(folder / IDS, {**ids, tracker: self._open[tracker].id})

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Pass finite values on to each open tracker."""
    for name, tracker in list(self._open.items()):
      with self._dropping(name):
        tracker.write(values, iteration)

  def close(self, finished: bool) -> None:
    """End the launch in each tracker. Harmless when called again."""
    for name, tracker in list(self._open.items()):
      with self._dropping(name):
        tracker.close(finished)
    self._open = {}

  @contextlib.contextmanager
  def _dropping(self, name: str) -> Iterator[None]:
    try:
      yield
    except (Exception, SystemExit) as error:  # anybody's code, over anybody's network
      self._open.pop(name, None)
      self._say(f"tracker {name} has failed, and the run goes on without it ({one_line(error)})")
