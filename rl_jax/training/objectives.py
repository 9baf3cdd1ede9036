"""The updates of an experiment: that of its method's loss, and those of models with a loss of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import jax

from rl_jax.methods.method import Loss, Outputs, Streams
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.mismatch import WATCH
from rl_jax.training.sizes import Sizes, sizes_of
from rl_jax.training.update import Objective, Update, Watch, make_update
from rl_jax.trajectories import Trajectories


def method_objective(experiment: Experiment) -> Objective:
  """The method's loss, which trains all models without one of their own."""
  roles = experiment.method.models
  names = [name for name, role in roles.items() if role.trained and role.loss is None]
  return _objective(experiment, names, experiment.method.loss, WATCH)


def update_of_method(experiment: Experiment) -> Update:
  """The update of the method's loss."""
  return _update(experiment, method_objective(experiment))


def updates_of_models(experiment: Experiment) -> dict[str, Update]:
  """The updates of models with a loss of their own, by model."""

  def alone(loss: Callable[[Outputs, Trajectories], Loss]) -> Callable[[Outputs, Trajectories, Streams], Loss]:
    return lambda outputs, trajectories, streams: loss(outputs, trajectories)

  roles = experiment.method.models
  return {
    name: _update(experiment, _objective(experiment, [name], alone(role.loss)))
    for name, role in roles.items()
    if role.loss is not None
  }


def _objective(experiment: Experiment, names: Iterable[str], loss, watch: Watch | None = None) -> Objective:
  of = lambda parts: {name: parts[name] for name in names}
  return Objective(of(experiment.models), of(experiment.optimizers), loss, watch)


def _update(experiment: Experiment, objective: Objective) -> Update:
  return make_update(objective, _sizes(experiment), group_ids=lambda rows: rows.group_ids)


def in_blocks(experiment: Experiment, rows: Trajectories) -> Trajectories:
  """The rows for an update, which says what stands together in each of its parts; see `Sizes.blocks`."""
  blocks = _sizes(experiment).blocks(rows.tokens.shape[0], rows.rows_per_prompt)
  return rows.replace(rows_per_prompt=blocks)


def _sizes(experiment: Experiment) -> Sizes:
  shards = mesh.batch_shards(jax.sharding.get_abstract_mesh(), experiment.rules)
  return sizes_of(experiment.config, shards)
