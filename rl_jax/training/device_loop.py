"""Iterations of a device task: many in one program, verifier included."""

from __future__ import annotations

from typing import Any

import jax
from jax.sharding import NamedSharding, PartitionSpec

from rl_jax.training import credit, evaluation, iteration, mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.iteration import Report
from rl_jax.training.state import TrainState


class DeviceLoop:
  """Two compiled programs, `run` and `evaluate`.

  Args:
    shardings: of the state.
  """

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh, shardings: TrainState):
    self.experiment, self.mesh, self.shardings = experiment, device_mesh, shardings
    self.programs: dict[str, Any] = {}

  def compile(self, state: TrainState) -> None:
    """Compiles both for a state like this one."""
    everywhere = NamedSharding(self.mesh, PartitionSpec())
    with mesh.use(self.mesh):
      run = jax.jit(
        lambda s: iteration.run(self.experiment, s), donate_argnums=0, out_shardings=(self.shardings, everywhere)
      )
      measure = lambda s: evaluation.evaluate(self.experiment, s) | credit.evaluate(self.experiment, s)
      evaluate = jax.jit(measure, out_shardings=everywhere)
      self.programs = {"run": run.lower(state).compile(), "evaluate": evaluate.lower(state).compile()}

  def run(self, state: TrainState) -> tuple[TrainState, Report]:
    """`logging.every_iterations` iterations of all seeds; reports lead with [iterations, seeds]."""
    with mesh.use(self.mesh):
      return self.programs["run"](state)

  def evaluate(self, state: TrainState) -> dict[str, jax.Array]:
    """Metrics on the held-out prompts, and of credit where the config asks for them; one number per seed."""
    with mesh.use(self.mesh):
      return self.programs["evaluate"](state)
