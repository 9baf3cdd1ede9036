"""Iterations of a host task: one program per phase, and the verifier in Python between them."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rl_jax.curricula.curriculum import Plan
from rl_jax.errors import UserError
from rl_jax.kernels.reductions import Mean
from rl_jax.rollouts.rollout import PhaseResult, RolloutResult, joined_metrics
from rl_jax.tasks.host import HostTask
from rl_jax.tasks.scoring import FAILURES
from rl_jax.tasks.task import Prompts, Verdicts
from rl_jax.training import evaluation, iteration, mesh
from rl_jax.training.experiment import Experiment
from rl_jax.training.held_out import HostAnswers, host_phase, joined, judge, led
from rl_jax.training.iteration import Report
from rl_jax.training.rollout_layout import before_rollout, generating
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import CURRICULUM, ROLLOUT, RunState, TrainState, bind_for_rollout, iteration_key
from rl_jax.trajectories import Trajectories

Judged = tuple[Trajectories, Verdicts, Any, Any]
"""Trajectories, their verdicts, the level of each row and the mask of verified rows, not joined yet."""
NO_TIME = "the verifier has no time, see task.seconds_per_response (environments: seconds_per_call) and task.workers"
NO_REASON = "the verifier gave no reason, call it once on a response to see what it lacks"


class HostLoop:
  """Loop of a host task: the parts of an iteration, compiled separately. It has one seed, because the verifier runs in
  Python.

  Args:
    shardings: of the state.

  Raises: UserError: more than one seed, or credit to compare with the truth.
  """

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh, shardings: RunState):
    count = experiment.config.num_seeds
    if count != 1:
      raise UserError(f"num_seeds={count}: a task that is scored in Python has one seed per run")
    if experiment.config.evaluation.credit_prompts:
      raise UserError("evaluation.credit_prompts: only credit of tasks scored on device is compared; set it to 0")
    self.experiment: Experiment = experiment
    self.mesh: jax.sharding.Mesh = device_mesh
    self.task: HostTask = experiment.task
    one_seed: Any = functools.partial(over_seeds, count=1)
    program: Any = lambda function, **options: jax.jit(one_seed(functools.partial(function, experiment)), **options)
    self._plan = program(_plan)
    self._phases = [
      program(functools.partial(_phase, index=index)) for index in range(len(experiment.method.rollout.phases))
    ]
    self._learn = program(_learn, donate_argnums=0, out_shardings=(shardings.seeds, mesh.replicated(device_mesh)))
    self._named = program(evaluation.named)
    self._answers = HostAnswers(experiment, device_mesh)
    self._unjudged_in_a_row, self._timed_out = 0, False

  def compile(self, state: RunState) -> None:
    """Do nothing: each program is compiled at its first call, when its shapes are known."""

  def lower(self, state: RunState) -> dict[str, Any]:
    """Lower the programs of one iteration, "rollout" (one per phase) and "update", without compiling. "reshard" comes
    first if generation has its own layout.

    Only the task runs: it is asked for the prompts with id 0 and for verdicts on no rows.

    Args:
      state: shapes, types and shardings.
    """
    number, rows = jnp.zeros(1, jnp.int32), mesh.rows(self.mesh, self.experiment.rules)
    with mesh.use(self.mesh, self.experiment.rules):
      lowered, seeds = before_rollout(self.experiment, self.mesh, state.seeds)
      plan, _ = jax.eval_shape(self._plan, state.seeds, number)
      prompts = led(self.task.prompts(np.zeros(plan.prompt_ids.shape[1], np.int32), "train"))
      before: Any = ()
      metrics: dict[str, Mean] = {}
      for index, phase in enumerate(self._phases):
        arguments = (seeds, number, plan, prompts, before)
        lowered["rollout" if len(self._phases) == 1 else f"rollout {index + 1}"] = phase.lower(*arguments)
        result = jax.eval_shape(phase, *arguments)
        seeds, metrics = seeds.replace(rollout=result.state), joined_metrics(metrics, result.metrics)
        before = (jax.tree.map(rows, result.trajectories), *self._unscored(result.trajectories))
      lowered["update"] = self._learn.lower(state.seeds, number, before, result.generated_tokens, metrics)
    return lowered

  def _unscored(self, trajectories: Trajectories) -> tuple[Verdicts, Any, Any]:
    """Shapes and types of the verdicts and levels of the host, and of the mask of requested rows."""
    count = trajectories.tokens.shape[1]
    none = jax.tree.map(lambda x: np.zeros((1, 0, *x.shape[2:]), x.dtype), trajectories)
    verdicts = judge(self.task, none, np.zeros((1, 0), bool), "train")
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, count, *x.shape[1:]), x.dtype), verdicts)
    return *shapes, jax.ShapeDtypeStruct((1, count), bool)

  def run(self, state: RunState) -> tuple[RunState, Report]:
    """Run `logging.every_iterations` iterations; reports have leading axes [iterations, 1]."""
    reports = []
    for _ in range(self.experiment.config.logging.every_iterations):
      state, report = self._iterate(state)
      reports.append(jax.device_get(report))
    return state, jax.tree.map(lambda *leaves: np.stack(leaves), *reports)

  def _iterate(self, state: RunState) -> tuple[RunState, Report]:
    number = state.iteration[None]
    with mesh.use(self.mesh, self.experiment.rules):
      plan, curriculum = self._plan(state.seeds, number)
      seeds = state.seeds.replace(curriculum=curriculum)
      prompts = led(self.task.prompts(mesh.fetched(plan.prompt_ids)[0], "train"))
      before: Judged | tuple[()] = ()
      generated, verified = jnp.zeros(1, jnp.int32), _VerifiedRows.nothing()
      metrics: dict[str, Mean] = {}
      for phase in self._phases:
        result = phase(seeds, number, plan, prompts, before)
        seeds = seeds.replace(rollout=result.state)
        generated, metrics = generated + result.generated_tokens, joined_metrics(metrics, result.metrics)
        verdicts, levels = judge(self.task, result.trajectories, result.verify, "train")
        verified = verified.and_of(verdicts, np.asarray(mesh.fetched(result.verify))[0])
        before = (result.trajectories, *led((verdicts, levels)), result.verify)
      self._check_verdicts(verified)
      seeds, report = self._learn(seeds, number, before, generated, metrics)
    return RunState(state.iteration + 1, seeds), report

  def _check_verdicts(self, verified: _VerifiedRows) -> None:
    """Raise UserError if no row was judged: at once if the verifier raised on all, else after some iterations."""
    scored, late, crashed, error = verified
    if not len(scored) or scored.any():
      self._unjudged_in_a_row, self._timed_out = 0, False
      return
    self._unjudged_in_a_row, self._timed_out = self._unjudged_in_a_row + 1, self._timed_out or bool(late.any())
    if error.all() or self._unjudged_in_a_row >= self.task.max_unscored_iterations:
      reasons = [NO_TIME] if self._timed_out else []
      reasons += self.task.reasons()
      failed = (late | crashed).all()
      what = "all responses timed out or crashed" if failed else "no response of the iteration has a verdict"
      raise UserError(f"{what}: {'; '.join(reasons) or NO_REASON}")

  def evaluate(self, state: RunState) -> dict[str, np.ndarray]:
    """Metrics on the held-out prompts."""
    answers = self._answers(state.seeds, int(state.iteration)).answers
    metrics = evaluation.measure(self.experiment, jax.tree.map(lambda x: x[0], answers))
    with mesh.use(self.mesh, self.experiment.rules):
      own = jax.device_get(self._named(state.seeds, state.iteration[None]))
    return {name: np.asarray(value)[None] for name, value in metrics.items()} | own


class _VerifiedRows(NamedTuple):
  """Outcomes of the responses that were verified in an iteration."""

  scored: np.ndarray
  late: np.ndarray
  crashed: np.ndarray
  error: np.ndarray

  @classmethod
  def nothing(cls) -> _VerifiedRows:
    return cls(*[np.zeros(0, bool)] * 4)

  def and_of(self, verdicts: Verdicts, rows: np.ndarray) -> _VerifiedRows:
    """Append verdicts; turns before the last one of an episode have no answer and are left out."""
    rows = rows & np.asarray(verdicts.extras.get("done", True))
    none = np.zeros(len(rows))
    failures = [np.asarray(verdicts.extras.get(f"part/{name}", none)) > 0 for name in FAILURES]
    new = np.asarray(verdicts.reward_mask), *failures
    return _VerifiedRows(*(np.concatenate([x, y[rows]]) for x, y in zip(self, new, strict=True)))


# Programs return only the changed parts of a state that they do not own: the rest would be copied.


def _plan(experiment: Experiment, seed: TrainState, number) -> tuple[Plan, Any]:
  """Plan of the iteration, and the new state of the curriculum."""
  return iteration.make_plan(experiment, seed, iteration_key(seed, number, CURRICULUM))


def _phase(
  experiment: Experiment, seed: TrainState, number, plan: Plan, prompts: Prompts, before, *, index: int
) -> PhaseResult:
  """One phase of the rollout, with prompts and verdicts from the host."""
  rollout, key = experiment.method.rollout, iteration_key(seed, number, ROLLOUT)
  with generating(experiment, bind_for_rollout(experiment, seed)) as models:
    draw = jax.random.fold_in(key, index)
    return host_phase(experiment.task, rollout, index, models, seed.rollout, plan, prompts, before, draw)


def _learn(
  experiment: Experiment, seed: TrainState, number, before: Judged, generated, metrics
) -> tuple[TrainState, Report]:
  """Everything after verification."""
  result = RolloutResult(seed.rollout, joined(experiment.task, before), generated, metrics)
  return iteration.learn(experiment, seed, result, number)
