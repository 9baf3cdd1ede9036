"""The layout in which responses are generated, where it differs from that of updates.

A sampler reads all parameters once for each token. Parameters split over `fsdp` would be gathered as often. With
--config.mesh.rollout_rules.width= they are gathered once, before the first token, and every device holds them whole
(but for `tensor`) until the last one. `rl_jax.plan` shows the cost and the gain, `rl_jax.benchmark reshard` times it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import flax.linen as nn
import jax
from jax.sharding import Mesh

from rl_jax.rollouts.rollout import BoundModel, Models
from rl_jax.training import mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.state import TrainState


@contextlib.contextmanager
def generating(experiment: Experiment, models: Models) -> Iterator[Models]:
  """The models with parameters laid out by `mesh.rollout_rules`, and the context in which they generate."""
  current_mesh = jax.sharding.get_abstract_mesh()
  if experiment.rollout_rules == experiment.rules or current_mesh.empty:
    yield models
    return

  def moved(bound: BoundModel) -> BoundModel:
    specs = mesh.specs(current_mesh, bound.model.abstract, experiment.rollout_rules)
    return bound._replace(params=jax.tree.map(jax.lax.with_sharding_constraint, bound.params, specs))

  with nn.logical_axis_rules(experiment.rollout_rules):
    yield {name: moved(bound) for name, bound in models.items()}


def reshard(experiment: Experiment, device_mesh: Mesh) -> Any:
  """The program that lays the policies of all seeds out for generation: parameters -> parameters."""
  return jax.jit(lambda params: params, out_shardings=_shardings(experiment, device_mesh))


def _shardings(experiment: Experiment, device_mesh: Mesh) -> Any:
  """Rollout shardings of the policy parameters, which have a leading axis of seeds."""
  return mesh.shardings(device_mesh, experiment.models["policy"].abstract, experiment.rollout_rules)


def before_rollout(experiment: Experiment, device_mesh: Mesh, seeds: TrainState) -> tuple[dict[str, Any], TrainState]:
  """`reshard`, lowered, by its name; nothing where both layouts are one. And the shapes that a rollout then reads."""
  if experiment.rollout_rules == experiment.rules:
    return {}, seeds
  policy = seeds.models["policy"]
  placed = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
  moved = policy.replace(params=jax.tree.map(placed, policy.params, _shardings(experiment, device_mesh)))
  lowered = reshard(experiment, device_mesh).lower(policy.params)
  return {"reshard": lowered}, seeds.replace(models=seeds.models | {"policy": moved})
