"""Iterations of a host task: one program per phase, and the verifier in Python between them."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.rollout import judged
from rl_jax.tasks.host import FAILURES, HostTask
from rl_jax.tasks.task import Prompts, Verdicts
from rl_jax.training import evaluation, iteration, mesh
from rl_jax.training.answering import HostAnswers, judge, led
from rl_jax.training.errors import TrainingError
from rl_jax.training.experiment import Experiment
from rl_jax.training.generating import before_rollout, generating
from rl_jax.training.iteration import Report
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import ROLLOUT, SeedState, TrainState, bind, iteration_key
from rl_jax.trajectories import Trajectories

Judged = tuple[Trajectories, Verdicts, Any]
"""Trajectories, the verdicts on them, and the level of each row: not joined yet."""
NO_TIME = "the verifier has no time, see task.seconds_per_response and task.workers"
NO_REASON = "the verifier gave no reason, call it once on a response to see what it lacks"


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
    self._plan = program(_plan)
    self._phases = [
      program(functools.partial(_phase, index=index)) for index in range(len(experiment.method.rollout.phases))
    ]
    self._learn = program(_learn, donate_argnums=0, out_shardings=(shardings.seeds, mesh.replicated(device_mesh)))
    self._answers = HostAnswers(experiment, device_mesh)
    self._unjudged_in_a_row, self._timed_out = 0, False

  def compile(self, state: TrainState) -> None:
    """Nothing yet: each program is compiled at its first call, as its shapes come from the one before."""

  def lower(self, state: TrainState) -> dict[str, Any]:
    """The programs of one iteration by what they do, "rollout" (one per phase) and "update", lowered and not compiled;
    before them "reshard" where generation has a layout of its own.

    Nothing runs but the task, which is asked for the prompts with id 0 and for verdicts on no rows.

    Args:
      state: shapes, types and shardings.
    """
    number, rows = jnp.zeros(1, jnp.int32), mesh.rows(self.mesh, self.experiment.rules)
    with mesh.use(self.mesh, self.experiment.rules):
      lowered, seeds = before_rollout(self.experiment, self.mesh, state.seeds)
      _, plan = jax.eval_shape(self._plan, state.seeds, number)
      prompts = led(self.task.prompts(np.zeros(plan.prompt_ids.shape[1], np.int32), "train"))
      before: Any = ()
      for index, phase in enumerate(self._phases):
        arguments = (seeds, number, plan, prompts, before)
        lowered["rollout" if len(self._phases) == 1 else f"rollout {index + 1}"] = phase.lower(*arguments)
        trajectories = jax.eval_shape(phase, *arguments)[1]
        before = (jax.tree.map(rows, trajectories), *self._unscored(trajectories))
      lowered["update"] = self._learn.lower(state.seeds, number, before)
    return lowered

  def _unscored(self, trajectories: Trajectories) -> tuple[Verdicts, Any]:
    """Shapes and types of the verdicts and levels that Python would give."""
    none = jax.tree.map(lambda x: np.zeros((1, 0, *x.shape[2:]), x.dtype), trajectories)
    count = trajectories.tokens.shape[1]
    given = judge(self.task, none, "train")
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, count, *x.shape[1:]), x.dtype), given)

  def run(self, state: TrainState) -> tuple[TrainState, Report]:
    """`logging.every_iterations` iterations; reports lead with [iterations, 1]."""
    reports = []
    for _ in range(self.experiment.config.logging.every_iterations):
      state, report = self._iterate(state)
      reports.append(jax.device_get(report))
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *reports)

  def _iterate(self, state: TrainState) -> tuple[TrainState, Report]:
    number = state.iteration[None]
    with mesh.use(self.mesh, self.experiment.rules):
      curriculum, plan = self._plan(state.seeds, number)
      seeds = state.seeds.replace(curriculum=curriculum)
      prompts = led(self.task.prompts(mesh.fetched(plan.prompt_ids)[0], "train"))
      before: Judged | tuple[()] = ()
      for phase in self._phases:
        rollout, trajectories = phase(seeds, number, plan, prompts, before)
        seeds = seeds.replace(rollout=rollout)
        before = (trajectories, *led(judge(self.task, trajectories, "train")))
      self._check_verdicts(*before[:2])
      seeds, report = self._learn(seeds, number, before)
    return TrainState(state.iteration + 1, seeds), report

  def _check_verdicts(self, trajectories: Trajectories, verdicts: Verdicts) -> None:
    """Raise TrainingError when no row has been judged: at once if the verifier raised on all, else after some times."""
    used = np.asarray(mesh.fetched(trajectories.row_mask))
    late, crashed, error = (np.asarray(verdicts.extras[f"part/{name}"])[used] > 0 for name in FAILURES)
    scored = np.asarray(verdicts.reward_mask)[used]
    # A response that timed out or crashed may have a reward of 0, which is no judgement where all others have it too.
    if not used.any() or np.any(scored & ~late & ~crashed):
      self._unjudged_in_a_row, self._timed_out = 0, False
      return
    self._unjudged_in_a_row, self._timed_out = self._unjudged_in_a_row + 1, self._timed_out or bool(late.any())
    if error.all() or self._unjudged_in_a_row >= self.task.max_unscored_iterations:
      known = [NO_TIME] if self._timed_out else []
      known += self.task.reasons()
      what = "all responses timed out or crashed" if scored.any() else "no response of the iteration has a verdict"
      raise TrainingError(f"{what}: {'; '.join(known) or NO_REASON}")

  def evaluate(self, state: TrainState) -> dict[str, np.ndarray]:
    """Metrics on the held-out prompts."""
    found = self._answers(state.seeds, int(state.iteration)).found
    metrics = evaluation.measure(self.experiment, jax.tree.map(lambda x: x[0], found))
    return {name: np.asarray(value)[None] for name, value in metrics.items()}


# Programs give back only what they change of a state that they do not own: the rest would be copied.


def _plan(experiment: Experiment, seed: SeedState, number) -> tuple[Any, Plan]:
  """The state of the curriculum, and what the iteration samples."""
  seed, plan = iteration.plan(experiment, seed, number)
  return seed.curriculum, plan


def _phase(
  experiment: Experiment, seed: SeedState, number, plan: Plan, prompts: Prompts, before, *, index: int
) -> tuple[Any, Trajectories]:
  """One phase of the rollout, with the prompts and the verdicts that Python gave: the rollout's state, trajectories."""
  task = experiment.task.given(prompts)
  trajectories = judged(*before) if before else None
  key = jax.random.fold_in(iteration_key(seed, number, ROLLOUT), index)
  phase = experiment.method.rollout.phases[index]
  with generating(experiment, bind(experiment, seed.models)) as models:
    return phase(models, seed.rollout, plan, task, trajectories, key)


def _learn(experiment: Experiment, seed: SeedState, number, before: Judged) -> tuple[SeedState, Report]:
  """Everything after the verifier."""
  return iteration.finish(experiment, seed, judged(*before), number)
