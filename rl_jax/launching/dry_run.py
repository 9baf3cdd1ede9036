"""Preview of a launch without an array: the config, stages, sizes, memory and programs."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path

import jax
from ml_collections import ConfigDict

from rl_jax.configuration import configs
from rl_jax.launching import initialization
from rl_jax.planning import fitting, ideal
from rl_jax.runs.directory import RunDirectory
from rl_jax.runs.trackers import group as trackers
from rl_jax.training import mesh, programs
from rl_jax.training.experiment import Experiment
from rl_jax.training.sizes import sizes_of
from rl_jax.training.trainer import check_batch

_MIB = 2**20


def report(config: ConfigDict, workdir: Path) -> Iterator[str]:
  """Lines on the launch of a resolved config in `workdir`.

  Raises: UserError: the launch would end so, as it does not reach its first iteration.
  """
  trackers.check(config.logging.trackers)
  yield configs.to_json(config)
  experiment, device_mesh = initialization.build(config), mesh.make_mesh(config.mesh)
  with contextlib.closing(experiment.task):
    notes = check_batch(experiment, device_mesh)
    yield from _stages(experiment, workdir)
    yield from _models(experiment)
    yield from _sizes(experiment)
    yield from _memory(experiment, device_mesh)
    yield f"programs to compile: {', '.join(_programs(experiment, device_mesh))}"
    yield from notes


def _stages(experiment: Experiment, workdir: Path) -> Iterator[str]:
  for name, stage, folder, depth in initialization.stages_before(experiment, workdir):
    state = "begun or done in" if RunDirectory(folder).identity.exists() else "to be trained in"
    yield f"{'  ' * depth}stage {name}: {stage.num_iterations} iterations of {stage.method.name}, {state} {folder}"


def _models(experiment: Experiment) -> Iterator[str]:
  for name, role in experiment.method.models.items():
    count = sum(math.prod(x.shape) for x in jax.tree.leaves(experiment.models[name].abstract))
    yield f"model {name}: {count:,} parameters, {'trained' if role.trained else 'frozen'}"


def _sizes(experiment: Experiment) -> Iterator[str]:
  config, sizes = experiment.config, ideal.sizes(experiment)
  tokens = sizes.rows * sizes.response_tokens
  yield (
    f"iteration: {sizes.prompts} prompts, {sizes.rows} rows of {sizes.prompt_tokens} + {sizes.response_tokens} slots: "
    f"at most {tokens:,} tokens of responses, and those of probes and branches; {sizes_of(config).updates} updates"
  )
  seeds = f"{config.num_seeds} seed{'s' if config.num_seeds > 1 else ''}"
  limit = f", or {config.num_tokens:,} tokens" if config.num_tokens else ""
  yield f"run: {config.num_iterations} iterations{limit}, {seeds}"


def _memory(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> Iterator[str]:
  state = fitting.state_bytes(programs.abstract_state(experiment, device_mesh).seeds)
  cache = ideal.cache_bytes(experiment, ideal.sizes(experiment), device_mesh)
  devices = f"{device_mesh.size} device{'s' if device_mesh.size > 1 else ''}"
  yield (
    f"memory of each of {devices}, all seeds: parameters {state.parameters / _MIB:,.1f} MiB, optimiser "
    f"{state.optimizer / _MIB:,.1f}, other state {state.other / _MIB:,.1f}, keys and values of a rollout "
    f"{cache / _MIB:,.1f}; activations are not counted: rl_jax.plan compiles for a chip"
  )


def _programs(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> list[str]:
  """Names of the programs of a run. Those of an iteration are traced, so that an error in a method or task shows."""
  evaluation = ["evaluation"] if experiment.config.evaluation.every_iterations else []
  return [*programs.lower(experiment, device_mesh), *evaluation]
