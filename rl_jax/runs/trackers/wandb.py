"""Weights & Biases. Its own variables apply: WANDB_MODE=offline, WANDB_PROJECT, WANDB_ENTITY, WANDB_API_KEY, …"""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from typing import Any

from rl_jax.runs.trackers.tracker import PROJECT, TrackedRun

_ITERATION = "iteration"
"""Axis of all metrics. The steps of the tracker itself only grow, and a resumed run returns to its checkpoint."""


class Writer:
  """Writer of a run of wandb."""

  def __init__(self, run: Any) -> None:
    self.id: str = run.id
    self._run = run

  def write(self, values: Mapping[str, float], iteration: int) -> None:
    """Log values with their iteration."""
    self._run.log({**values, _ITERATION: iteration})

  def close(self, finished: bool) -> None:
    """Finish the run; one that was stopped counts as failed until it is resumed."""
    self._run.finish(exit_code=0 if finished else 1)


def open_run(run: TrackedRun) -> Writer:
  """Begin or continue a run. Its files are in the run's folder."""
  import wandb

  tracked = wandb.init(
    project=os.environ.get("WANDB_PROJECT", PROJECT),
    name=run.name,
    id=run.id or secrets.token_hex(4),
    resume="allow",
    dir=str(run.folder),
    config=dict(run.config),
    # Lines of a run go to the terminal as they are, and a run of the user's own around this one stays open.
    settings=wandb.Settings(console="off", quiet=True, reinit="create_new"),
  )
  tracked.define_metric(_ITERATION)
  tracked.define_metric("*", step_metric=_ITERATION)
  return Writer(tracked)
