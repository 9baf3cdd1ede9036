"""Layout of parameters during generation, if it differs from that of updates.

A sampler reads all parameters once per token, and would gather parameters split over `fsdp` as often. With
--config.mesh.rollout_rules.width= they are gathered once, before the first token, and every device holds them whole
(except for `tensor`) until the last token. `rl_jax.plan` shows cost and gain; `rl_jax.benchmark reshard` times it.
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
  """Models with parameters sharded by `mesh.rollout_rules`, and the context for generation."""
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
  """Program that reshards the policies of all seeds for generation: parameters -> parameters."""
  return jax.jit(lambda params: params, out_shardings=_shardings(experiment, device_mesh))


def _shardings(experiment: Experiment, device_mesh: Mesh) -> Any:
  """Rollout shardings of the policy parameters, which have a leading axis of seeds."""
  return mesh.shardings(device_mesh, experiment.models["policy"].abstract, experiment.rollout_rules)


def before_rollout(experiment: Experiment, device_mesh: Mesh, seeds: TrainState) -> tuple[dict[str, Any], TrainState]:
  """Lowered program `reshard` by name (none if both layouts are equal), and the shapes that a rollout then reads."""
  if experiment.rollout_rules == experiment.rules:
    return {}, seeds
  policy = seeds.models["policy"]
  placed = lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
  moved = policy.replace(params=jax.tree.map(placed, policy.params, _shardings(experiment, device_mesh)))
  lowered = reshard(experiment, device_mesh).lower(policy.params)
  return {"reshard": lowered}, seeds.replace(models=seeds.models | {"policy": moved})
