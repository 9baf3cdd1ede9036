"""Iterations of a device task, many in one program, including the verifier."""

from __future__ import annotations

import functools
from typing import Any

import jax

from rl_jax.training import credit, evaluation, iteration, mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.iteration import Report
from rl_jax.training.rollout_layout import before_rollout
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import RunState


class DeviceLoop:
  """Two compiled programs, `run` and `evaluate`.

  Args:
    shardings: of the state.
  """

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh, shardings: RunState):
    self.experiment, self.mesh, self.shardings = experiment, device_mesh, shardings
    self.programs: dict[str, Any] = {}

  def compile(self, state: RunState) -> None:
    """Compile both programs for a state like this one."""
    everywhere = mesh.replicated(self.mesh)
    with mesh.use(self.mesh, self.experiment.rules):
      iterate = functools.partial(iteration.run, self.experiment)
      run = jax.jit(iterate, donate_argnums=0, out_shardings=(self.shardings, everywhere))
      measure = lambda s: evaluation.evaluate(self.experiment, s) | credit.evaluate(self.experiment, s)
      evaluate = jax.jit(measure, out_shardings=everywhere)
      self.programs = {"run": run.lower(state).compile(), "evaluate": evaluate.lower(state).compile()}

  def lower(self, state: RunState) -> dict[str, Any]:
    """Lower the two halves of an iteration, "rollout" (with the verifier) and "update", without compiling. "reshard"
    comes first if generation has its own layout.

    Args:
      state: shapes, types and shardings.
    """
    count = self.experiment.config.num_seeds
    sample: Any = lambda seed: iteration.make_batch(self.experiment, seed, 0)
    learn: Any = lambda seed, result: iteration.learn(self.experiment, seed, result, 0)
    rollout = jax.jit(over_seeds(sample, count))
    update = jax.jit(over_seeds(learn, count), donate_argnums=0, out_shardings=(self.shardings.seeds, None))
    with mesh.use(self.mesh, self.experiment.rules):
      _, result = jax.eval_shape(rollout, state.seeds)
      rows = jax.tree.map(mesh.rows(self.mesh, self.experiment.rules), result.trajectories)
      lowered, seeds = before_rollout(self.experiment, self.mesh, state.seeds)
      return lowered | {
        "rollout": rollout.lower(seeds),
        "update": update.lower(state.seeds, result._replace(trajectories=rows)),
      }

  def run(self, state: RunState) -> tuple[RunState, Report]:
    """Run `logging.every_iterations` iterations of all seeds; reports have leading axes [iterations, seeds]."""
    with mesh.use(self.mesh, self.experiment.rules):
      return self.programs["run"](state)

  def evaluate(self, state: RunState) -> dict[str, jax.Array]:
    """Metrics on the held-out prompts, and of credit if the config asks for them, one number per seed."""
    with mesh.use(self.mesh, self.experiment.rules):
      return self.programs["evaluate"](state)
