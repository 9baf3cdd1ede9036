"""Answers to all held-out problems, for evaluation without training."""

from __future__ import annotations

import functools
import time
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jaxtyping import PRNGKeyArray

from rl_jax.curricula.curriculum import Plan
from rl_jax.errors import UserError
from rl_jax.models.model import Params
from rl_jax.rollouts.rollout import Models, PhaseResult, Rollout, judged, padded
from rl_jax.tasks.checks import checked_prompts, checked_verdicts
from rl_jax.tasks.host import HostTask, on_rows
from rl_jax.tasks.task import Prompts, Split, Verdicts
from rl_jax.tasks.verifiers.errors import CannotVerify
from rl_jax.training import evaluation, mesh
from rl_jax.training.evaluation import Answers, Evaluation
from rl_jax.training.experiment import Experiment
from rl_jax.training.seeds import member_seeds, over_seeds
from rl_jax.training.state import ModelState, TrainState
from rl_jax.trajectories import Trajectories


class EvaluationResult(NamedTuple):
  """Answers of every seed."""

  answers: Evaluation
  """NumPy arrays with a leading axis of seeds."""
  seconds: float
  """Run time without compilation; for a device task it includes the verifier."""


class DeviceAnswers:
  """Answers to a device task, in one program that includes the verifier."""

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh):
    self.experiment, self.mesh = experiment, device_mesh

  def __call__(self, seeds: TrainState, iteration: int) -> EvaluationResult:
    """Answers of the policies of `seeds`, with the keys of an iteration."""
    every = over_seeds(
      lambda seed: evaluation.answer_seed(self.experiment, seed, iteration), self.experiment.config.num_seeds
    )
    with mesh.use(self.mesh, self.experiment.rules):
      program = jax.jit(every, out_shardings=mesh.replicated(self.mesh)).lower(seeds).compile()
      started = time.perf_counter()
      answers = jax.block_until_ready(program(seeds))
      seconds = time.perf_counter() - started
    return EvaluationResult(jax.device_get(answers), seconds)


class HostAnswers:
  """Answers to a host task: `evaluation.prompts_at_a_time` prompts in one program, then the verifier. One seed."""

  def __init__(self, experiment: Experiment, device_mesh: jax.sharding.Mesh):
    self.experiment, self.mesh = experiment, device_mesh
    self.task: HostTask = experiment.task
    self._raised = False  # the verifier, on an answer of this evaluation
    self._compiled: dict[tuple[bool, int, int], Any] = {}

  def __call__(self, seeds: TrainState, iteration: int) -> EvaluationResult:
    """Answers of the policy of `seeds`, with the keys of an iteration."""
    section = self.experiment.config.evaluation
    ids = np.asarray(evaluation.questions(self.experiment))
    size = section.prompts_at_a_time or len(ids)
    parts: dict[bool, list[Answers]] = {False: [], True: []}
    seconds, self._raised = 0.0, False
    for chunk, first in enumerate(range(0, len(ids), size)):
      asked = ids[first : first + size]
      prompts = checked_prompts(self.task.prompts(asked, "held_out"), self.task, asked)
      for greedy in (False, True) if section.greedy else (False,):
        kind = evaluation.held(self.experiment, greedy=greedy)
        inputs = led((np.int32(iteration), kind.plan(self.task, prompts.ids), prompts, np.int32(chunk)))
        state, before = (), ()
        for index in range(len(kind.rollout.phases)):
          result, elapsed = self._timed((greedy, index, len(prompts.ids)), (seeds, *inputs, state, before))
          state, before, seconds = result.state, self._asked(result), seconds + elapsed
        rows = joined(self.task, jax.tree.map(lambda x: x[0], before))
        parts[greedy].append(jax.device_get(evaluation.answers(rows, kind.completions)))
    answers = Evaluation(_joined(parts[False]), _joined(parts[True]) if section.greedy else None)
    if self._raised and not answers.sampled.scored.any():
      raise UserError(f"no answer to a held-out problem has a verdict: {'; '.join(self.task.reasons())}")
    return EvaluationResult(answers, seconds)

  def _timed(self, kind: tuple[bool, int, int], arguments: tuple[Any, ...]) -> tuple[PhaseResult, float]:
    """Args: kind: whether greedy, index of the phase, number of prompts."""
    greedy, index, _ = kind
    with mesh.use(self.mesh, self.experiment.rules):
      if kind not in self._compiled:
        phase: Any = functools.partial(_held_phase, self.experiment, greedy=greedy, index=index)
        self._compiled[kind] = jax.jit(over_seeds(phase, count=1)).lower(*arguments).compile()
      started = time.perf_counter()
      result = jax.block_until_ready(self._compiled[kind](*arguments))
      return result, time.perf_counter() - started

  def _asked(self, result: PhaseResult) -> tuple[Any, ...]:
    """Arguments of `joined`, with a leading axis of seeds."""
    trajectories, requested = mesh.fetched(result.trajectories), mesh.fetched(result.verify)
    verdicts, levels = judge(self.task, trajectories, requested, "held_out")
    self._raised |= bool(np.any(verdicts.extras.get("part/error", False)))
    return trajectories, *led((verdicts, levels)), requested


def _held_phase(
  experiment: Experiment, seed: TrainState, iteration, plan, prompts, chunk, state, before, *, greedy: bool, index: int
) -> PhaseResult:
  """One phase of the responses to a part of the held-out prompts."""
  kind, key = evaluation.held(experiment, greedy=greedy), evaluation.evaluation_key(seed, iteration, chunk)
  state = state if index else kind.rollout.init(key)
  with evaluation.evaluated(experiment, seed) as models:
    draw = kind.key(key, index)
    return host_phase(experiment.task, kind.rollout, index, models, state, plan, prompts, before, draw)


def host_phase(
  task: HostTask,
  rollout: Rollout,
  index: int,
  models: Models,
  state: Any,
  plan: Plan,
  prompts: Prompts,
  before: tuple[Any, ...],
  key: PRNGKeyArray,
) -> PhaseResult:
  """A phase of a rollout.

  Args:
    before: arguments of `joined` for the results of the previous phase; empty before the first.
  """
  trajectories = joined(task, before) if before else None
  return rollout.phases[index](models, state, plan, padded(prompts, rollout.prompt_width), trajectories, key)


def joined(task: HostTask, verified: tuple[Any, ...]) -> Trajectories:
  """Trajectories joined with verdicts, levels and the mask of rows that were verified."""
  trajectories, verdicts, levels, requested = verified
  return judged(trajectories, verdicts, levels, requested, task.provides)


def answers_of(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> DeviceAnswers | HostAnswers:
  """Answering program for an experiment's task.

  Raises: UserError: several seeds of a task that is scored in Python.
  """
  if experiment.task.on_device:
    return DeviceAnswers(experiment, device_mesh)
  count = experiment.config.num_seeds
  if count != 1:
    raise UserError(f"num_seeds={count}: a task that is scored in Python is evaluated for one seed")
  return HostAnswers(experiment, device_mesh)


def own_evaluations(
  experiment: Experiment, device_mesh: jax.sharding.Mesh, seeds: TrainState, iteration: int
) -> dict[str, np.ndarray]:
  """Metrics [S] of the method's own evaluations, with the policies of `seeds` and the keys of an iteration."""
  every = over_seeds(lambda seed: evaluation.named(experiment, seed, iteration), experiment.config.num_seeds)
  with mesh.use(device_mesh, experiment.rules):
    return jax.device_get(jax.jit(every, out_shardings=mesh.replicated(device_mesh))(seeds))


def judge(task: HostTask, trajectories: Trajectories, requested: Any, split: Split) -> tuple[Verdicts, Any]:
  """Verdicts on the responses `requested` of one seed (leading axis 1), and the level of each row.

  Each process of a run verifies its share of the rows, and all processes get all verdicts. Other rows have no step and
  zeros.

  Raises: UserError: the verifier can score no response.
  """
  inputs = trajectories.prompt_ids, trajectories.tokens, trajectories.attention_mask, requested
  ids, tokens, mask, requested = (x[0] for x in mesh.fetched(inputs))
  index, responses = np.flatnonzero(requested), slice(trajectories.prompt_width, None)
  mine = index[_share(len(index))]
  try:
    asked = tokens[mine, responses]
    verdicts = checked_verdicts(task.verify(ids[mine], split, asked, mask[mine, responses]), task, asked.shape)
  except CannotVerify as error:
    raise UserError(f"no response can be scored: {error}") from error
  all_verdicts = on_rows(_gathered(verdicts, len(index)), index, len(ids))
  return all_verdicts, np.asarray(task.prompts(ids, split).levels)


def _share(rows: int) -> slice | np.ndarray:
  """Row indices of this process, padded to equal counts by repeating the last row."""
  count = jax.process_count()
  if count == 1:
    return slice(None)
  size = -(-rows // count)
  return np.minimum(np.arange(size) + jax.process_index() * size, rows - 1)


def _gathered(verdicts: Verdicts, rows: int) -> Verdicts:
  """Verdicts on all rows, gathered from the shares of all processes."""
  if jax.process_count() == 1:
    return verdicts
  return jax.tree.map(lambda x: np.asarray(x)[:rows], multihost_utils.process_allgather(verdicts, tiled=True))


def led(tree: Any) -> Any:
  """Host arrays with a leading axis of one seed."""
  return jax.tree.map(lambda x: np.asarray(x)[None], tree)


def _joined(parts: list[Answers]) -> Answers:
  return led(jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts))


def abstract_policy(experiment: Experiment, device_mesh: jax.sharding.Mesh) -> Params:
  """Shapes, types and shardings of the policies of all seeds."""
  count = experiment.config.num_seeds
  with mesh.use(device_mesh, experiment.rules):
    boxed = experiment.models["policy"].abstract
    return jax.tree.map(
      lambda x, sharding: jax.ShapeDtypeStruct((count, *x.shape), x.dtype, sharding=sharding),
      jax.eval_shape(nn.unbox, boxed),
      mesh.shardings(device_mesh, boxed, experiment.rules),
    )


def policies(experiment: Experiment, params: Params) -> TrainState:
  """Part of a run's state that is evaluated: keys and policy parameters, with a leading axis of seeds."""
  config = experiment.config
  keys = jax.vmap(lambda seed: jax.random.key_data(jax.random.key(seed)))(jnp.asarray(member_seeds(config)))
  return TrainState(
    root_key=keys,
    models={"policy": ModelState(params)},
    curriculum=(),
    rollout=(),
    generated_tokens=jnp.zeros((config.num_seeds, 2), jnp.uint32),
    skipped_in_a_row=jnp.zeros(config.num_seeds, jnp.int32),
  )
