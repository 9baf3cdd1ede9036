"""Policies of a run's checkpoints, for commands that train nothing."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from rl_jax.errors import UserError
from rl_jax.models.model import Params
from rl_jax.runs.directory import find_run
from rl_jax.runs.metrics import read_metrics
from rl_jax.training import held_out
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.experiment import Experiment
from rl_jax.training.optimizer import averages
from rl_jax.training.state import ModelState


class Policies(NamedTuple):
  """Policies of all seeds: parameters with a leading axis of seeds, and their origin."""

  params: Params
  iteration: int
  what: str


def restored(experiment: Experiment, device_mesh: jax.sharding.Mesh, workdir: Path, iteration: str) -> Policies:
  """The policies of a run's checkpoint, as evaluations use them. Warnings go to stderr.

  Args:
    iteration: "newest", "best" by `checkpoint.best_metric`, or a number.

  Raises:
    UserError: there is no such checkpoint, or it cannot be restored.
  """
  config, source = experiment.config, find_run(workdir)
  with Checkpoints(source.checkpoints, best_metric=config.checkpoint.best_metric) as checkpoints:
    step: int | None = None
    if iteration == "best":
      step = checkpoints.best_step()
      if step is None:
        raise UserError(f"no checkpoint in {source.checkpoints} has the metric {config.checkpoint.best_metric!r}")
    elif iteration != "newest":
      step = int(iteration)
    abstract = held_out.abstract_policy(experiment, device_mesh)
    averaged = config.optimizer.parameter_average and experiment.method.models["policy"].trained
    trained = experiment.models["policy"].trained(abstract)
    average = averages(config.optimizer, trained) if averaged else None
    loaded = checkpoints.restore_subtree("seeds/models/policy", ModelState(abstract, average=average), step)
  for warning in loaded.warnings:
    print(warning, file=sys.stderr)
  if iteration != "best":
    return Policies(loaded.state.evaluated, loaded.step, f"{workdir}, iteration {loaded.step}")
  metric = config.checkpoint.best_metric
  if note := better_than_kept(read_metrics(source.metrics), metric, loaded.step):
    print(note, file=sys.stderr)
  of_run = f"{workdir}, iteration {loaded.step}, the best that was kept by {metric}"
  return Policies(loaded.state.evaluated, loaded.step, of_run)


def better_than_kept(lines: list[dict[str, Any]], metric: str, kept: int) -> str:
  """Line on an evaluation that was better than that of the checkpoint of iteration `kept`; "" if none was."""
  values = {line["iteration"]: float(np.mean(line[metric])) for line in lines if metric in line}
  best = max(values, key=lambda iteration: values[iteration], default=kept)
  if kept not in values or not values[best] > values[kept]:
    return ""
  return (
    f"iteration {best} was better ({metric} {values[best]:.4g} against {values[kept]:.4g}), but no checkpoint of it is "
    "there: see checkpoint.every_iterations and checkpoint.keep_best"
  )


def to_iteration(text: str) -> str:
  """Checkpoint of an argument. Raises: ArgumentTypeError: it names none."""
  if text not in ("newest", "best") and not text.isdecimal():
    raise argparse.ArgumentTypeError(f"newest, best or a number, got {text!r}")
  return text
