"""Updates of an experiment: that of its method's loss, and those of models with their own loss."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable
from types import MappingProxyType

import jax
from jaxtyping import Array

from rl_jax.methods.method import Loss, Outputs, Streams
from rl_jax.models.outputs import of_parameters
from rl_jax.rollouts.rollout import BoundModel, Models
from rl_jax.rollouts.sampler import SEED_AXIS
from rl_jax.training import mesh
from rl_jax.training.contracts import checked_loss
from rl_jax.training.experiment import Experiment
from rl_jax.training.lengths import Buckets
from rl_jax.training.mismatch import WATCH
from rl_jax.training.sizes import Sizes, sizes_of
from rl_jax.training.update import Objective, Update, Watch, make_update
from rl_jax.trajectories import PrefixTrees, Trajectories


def method_objective(experiment: Experiment, models: Models = MappingProxyType({})) -> Objective:
  """The method's loss, which trains all models without one of their own.

  Args:
    models: of others the loss reads the outputs that are of the parameters alone, as they are here: a teacher's matrix.
  """
  roles, method = experiment.method.models, experiment.method
  trained = [name for name, role in roles.items() if role.trained and role.loss is None]
  others = {name: of_parameters(bound.model, bound.params) for name, bound in models.items() if name not in trained}
  constants = {name: outputs for name, outputs in others.items() if outputs}
  return _objective(experiment, trained, checked_loss(method.loss, method.signal, constants), WATCH)


def update_of_method(
  experiment: Experiment, trees: tuple[PrefixTrees, ...] = (), models: Models = MappingProxyType({})
) -> Update:
  """The update of the method's loss, for rows that share what `trees` say; `models` as in `method_objective`."""
  return _update(experiment, method_objective(experiment, models), trees)


def updates_of_models(experiment: Experiment, trees: tuple[PrefixTrees, ...] = ()) -> dict[str, Update]:
  """Updates of models with their own loss, by model; otherwise as `update_of_method`."""

  def alone(loss: Callable[[Outputs, Trajectories], Loss]) -> Callable[[Outputs, Trajectories, Streams], Loss]:
    return lambda outputs, trajectories, streams: loss(outputs, trajectories)

  roles = experiment.method.models
  return {
    name: _update(experiment, _objective(experiment, [name], alone(role.loss)), trees)
    for name, role in roles.items()
    if role.loss is not None
  }


def _objective(experiment: Experiment, names: Iterable[str], loss, watch: Watch | None = None) -> Objective:
  of = lambda parts: {name: parts[name] for name in names}
  return Objective(of(experiment.models), of(experiment.optimizers), loss, watch)


def _update(experiment: Experiment, objective: Objective, trees: tuple[PrefixTrees, ...]) -> Update:
  sizes = _sizes(experiment, trees)
  return make_update(objective, sizes, group_ids=lambda rows: rows.group_ids, buckets=buckets_of(experiment))


def whole_trees(experiment: Experiment, rows: Trajectories) -> Trajectories:
  """Rows for an update, with their trees only if none is split between parts."""
  sizes, trees = _sizes(experiment, rows.trees), rows.trees
  if len(trees) == 1:
    held = sizes.holds(rows.tokens.shape[0], trees[0].size)
  else:
    held = sizes.shards == 1 and sizes.part(rows.tokens.shape[0]) == rows.tokens.shape[0]
  return rows.replace(trees=trees if held else ())


def outputs_in_buckets(
  experiment: Experiment, bound: BoundModel, rows: Trajectories, names: Collection[str]
) -> dict[str, Array]:
  """Some outputs of a model for a whole batch, by name, in length buckets where the config has them."""
  buckets = buckets_of(experiment)

  def of_model(rows: Trajectories) -> dict[str, Array]:
    found = bound.model.outputs(bound.params, rows)
    return {name: found[name] for name in names}

  if buckets is None:
    return of_model(rows)
  count = rows.tokens.shape[0]
  return buckets.map(of_model, whole_trees(experiment, rows), count // _sizes(experiment, rows.trees).part(count))


def buckets_of(experiment: Experiment) -> Buckets | None:
  """Layouts of length buckets; None: all rows run all slots. Where a method reads the states of all slots, as for
  divergences over the vocabulary, widths save more than packing."""
  count = sizes_of(experiment.config).length_buckets
  packs = all(model.shared_prompts and "hidden" not in model.names for model in experiment.models.values())
  return Buckets(count, SEED_AXIS if experiment.config.num_seeds > 1 else None, packs) if count > 1 else None


def _sizes(experiment: Experiment, trees: tuple[PrefixTrees, ...]) -> Sizes:
  shards = mesh.batch_shards(jax.sharding.get_abstract_mesh(), experiment.rules)
  sizes = sizes_of(experiment.config, shards)
  shared = len(trees) == 1 and trees[0].children
  return dataclasses.replace(sizes, group=trees[0].size) if sizes.group and shared else sizes
