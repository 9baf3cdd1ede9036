"""Iterations of a host task: one program per phase, and the verifier in Python between them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.rollout import judged
from rl_jax.tasks.host import HostTask
from rl_jax.tasks.task import Prompts, Verdicts
from rl_jax.training import evaluation, iteration, mesh
from rl_jax.training.answering import HostAnswers, judge, led
from rl_jax.training.errors import TrainingError
from rl_jax.training.experiment import Experiment
from rl_jax.training.iteration import Report
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import ROLLOUT, SeedState, TrainState, bind, iteration_key
from rl_jax.trajectories import Trajectories

Judged = tuple[Trajectories, Verdicts, Any]
"""Trajectories, the verdicts on them, and the level of each row: not joined yet."""


class HostLoop:
  """The parts of a device task's iteration, compiled apart; one seed, as the verifier is no part of a program.

  Args:
    shardings: of the state.

  Raises: TrainingError: more than one seed, or credit to compare with the truth.
  """

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh, shardings: TrainState):
    count = experiment.config.num_seeds
    if count != 1:
      raise TrainingError(f"num_seeds={count}: a task that is scored in Python has one seed per run")
    if experiment.config.evaluation.credit_prompts:
      raise TrainingError("evaluation.credit_prompts: only credit of tasks scored on device is compared; set it to 0")
    self.experiment: Experiment = experiment
    self.mesh: jax.sharding.Mesh = device_mesh
    self.task: HostTask = experiment.task
    one: Any = functools.partial(over_seeds, count=1)
    program: Any = lambda function, **options: jax.jit(one(functools.partial(function, experiment)), **options)
    self._plan = program(iteration.plan)
    self._phases = [
      program(functools.partial(_phase, index=index)) for index in range(len(experiment.method.rollout.phases))
    ]
    self._learn = program(_learn, donate_argnums=0, out_shardings=(shardings.seeds, None))
    self._answers = HostAnswers(experiment, device_mesh)

  def compile(self, state: TrainState) -> None:
    """Nothing yet: each program is compiled at its first call, as its shapes come from the one before."""

  def run(self, state: TrainState) -> tuple[TrainState, Report]:
    """`logging.every_iterations` iterations; reports lead with [iterations, 1]."""
    reports = []
    for _ in range(self.experiment.config.logging.every_iterations):
      state, report = self._iterate(state)
      reports.append(jax.device_get(report))
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *reports)

  def _iterate(self, state: TrainState) -> tuple[TrainState, Report]:
    number = state.iteration[None]
    with mesh.use(self.mesh):
      seeds, plan = self._plan(state.seeds, number)
      prompts = led(self.task.prompts(np.asarray(plan.prompt_ids[0]), "train"))
      before: Judged | tuple[()] = ()
      for phase in self._phases:
        seeds, trajectories = phase(seeds, number, plan, prompts, before)
        before = (trajectories, *led(judge(self.task, trajectories, "train")))
      seeds, report = self._learn(seeds, number, before)
    return TrainState(state.iteration + 1, seeds), report

  def evaluate(self, state: TrainState) -> dict[str, np.ndarray]:
    """Metrics on the held-out prompts."""
    found = self._answers(state.seeds, int(state.iteration)).found
    metrics = evaluation.measure(self.experiment, jax.tree.map(lambda x: x[0], found))
    return {name: np.asarray(value)[None] for name, value in metrics.items()}


def _phase(
  experiment: Experiment, seed: SeedState, number, plan: Plan, prompts: Prompts, before, *, index: int
) -> tuple[SeedState, Trajectories]:
  """One phase of the rollout, with the prompts and the verdicts that Python gave."""
  task = experiment.task.given(prompts)
  trajectories = judged(*before) if before else None
  key = jax.random.fold_in(iteration_key(seed, number, ROLLOUT), index)
  phase = experiment.method.rollout.phases[index]
  state, trajectories = phase(bind(experiment, seed.models), seed.rollout, plan, task, trajectories, key)
  return seed.replace(rollout=state), trajectories


def _learn(experiment: Experiment, seed: SeedState, number, before: Judged) -> tuple[SeedState, Report]:
  """Everything after the verifier."""
  return iteration.finish(experiment, seed, judged(*before), number)
