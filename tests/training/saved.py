"""Runs that have trained nothing: the folder and the checkpoint of a state as it was drawn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.models import lora
from rl_jax.runs.directory import open_run
from rl_jax.training import mesh
from rl_jax.training.checkpoints import Checkpoints
from rl_jax.training.leaves import named_leaves
from rl_jax.training.state import RunState
from rl_jax.training.trainer import Trainer


def save(config, folder: Path, step: int = 2) -> RunState:
  """The state of a run of a resolved config, saved in `folder` as that of iteration `step`.

  Adapters have grown from where they start, at which they change nothing.
  """
  experiment = initialization.build(config)
  trainer = Trainer(experiment, mesh.make_mesh(config.mesh))
  grown = lambda path, x: x + 0.1 if path[-1].key.endswith(lora.B) else x
  models = {
    name: model.replace(params=jax.tree_util.tree_map_with_path(grown, model.params))
    for name, model in trainer.state.seeds.models.items()
  }
  trainer.state = trainer.state.replace(seeds=trainer.state.seeds.replace(models=models))
  with open_run(folder, json.loads(configs.to_json(config)), *configs.identity(config)) as directory:
    with Checkpoints(directory.checkpoints) as checkpoints:
      checkpoints.save(step, trainer.state, {"data": experiment.task.fingerprint, "held_out": {}})
  return trainer.state


def arrays(tree: Any) -> dict[str, np.ndarray]:
  """Leaves by the names that checkpoints give them."""
  return {name: np.asarray(leaf) for name, leaf in named_leaves(jax.device_get(tree)).items()}


def checkpoint(folder: Path, abstract: Any) -> Any:
  """The state of a run's newest checkpoint."""
  restored = Checkpoints(folder / "checkpoints").restore_latest(abstract)
  assert restored is not None
  return restored.state
