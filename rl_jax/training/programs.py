"""Programs of an iteration without arrays, for absent devices and for models too large for this machine."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import Mesh

from rl_jax.training import mesh, state
from rl_jax.training.experiment import Experiment
from rl_jax.training.state import RunState
from rl_jax.training.trainer import check_batch, layout, loop_of


def abstract_state(experiment: Experiment, device_mesh: Mesh) -> RunState:
  """Shapes, types and shardings of the state of a run that draws its parameters."""
  shardings = layout(experiment, device_mesh)
  with mesh.use(device_mesh, experiment.rules):
    shapes = jax.eval_shape(lambda: state.init(experiment))
  return jax.tree.map(lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s), shapes, shardings)


def lower(experiment: Experiment, device_mesh: Mesh) -> dict[str, Any]:
  """Lowered programs of one iteration: "rollout", or "rollout 1" and so on by phase, and "update".

  The trajectories of the update have the sharding of rows over the mesh.

  Raises: UserError: sizes do not divide one another or the mesh, or the task takes another number of seeds.
  """
  check_batch(experiment, device_mesh)
  abstract = abstract_state(experiment, device_mesh)
  shardings = jax.tree.map(lambda x: x.sharding, abstract)
  return loop_of(experiment.task)(experiment, device_mesh, shardings).lower(abstract)
