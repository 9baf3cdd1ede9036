"""A run in memory: compiled programs over one state. Knows no files."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from rl_jax.errors import UserError
from rl_jax.kernels.reductions import Mean
from rl_jax.tasks.task import Task
from rl_jax.training import mesh, state
from rl_jax.training.device_loop import DeviceLoop
from rl_jax.training.experiment import Experiment
from rl_jax.training.host_loop import HostLoop
from rl_jax.training.iteration import Report
from rl_jax.training.sizes import sizes_of
from rl_jax.training.state import RunState, Starts


class Loop(Protocol):
  """Programs that make the iterations of a run. A user's own goes to `Trainer(..., loop=...)`."""

  def compile(self, state: RunState) -> None:
    """Compile the programs for a state like this one."""
    ...

  def lower(self, state: RunState) -> dict[str, Any]:
    """The programs of one iteration by name, lowered and not compiled."""
    ...

  def run(self, state: RunState) -> tuple[RunState, Report]:
    """`logging.every_iterations` iterations; reports lead with [iterations, seeds]."""
    ...

  def evaluate(self, state: RunState) -> Any:
    """Metrics on the held-out prompts by name, one number per seed."""
    ...


MakeLoop = Callable[[Experiment, Mesh, RunState], Loop]
"""(experiment, mesh, shardings of the state)"""


def loop_of(task: Task) -> MakeLoop:
  """The loop of a task by its form."""
  return DeviceLoop if task.on_device else HostLoop


Metrics = dict[str, np.ndarray]
"""Name to one number per seed."""


class AdvanceResult(NamedTuple):
  """Results of the iterations of one call, in order."""

  metrics: list[Metrics]
  """`generated_tokens` counts from the start of the run."""
  samples: list[dict[str, Any]]
  """Decoded rows of the last iteration."""
  seconds: float
  skipped_in_a_row: np.ndarray
  """Updates left out in a row at the end of each iteration, [iterations, seeds]."""


class Trainer:
  """State of a run, and the methods that advance it.

  Args:
    experiment: the parts of a resolved config.
    starts: parameters that models start with, by role, with a leading axis of starts; others are drawn.
    loop: None: that of the task's form.

  Raises:
    UserError: sizes that do not divide one another or the mesh.
  """

  def __init__(
    self, experiment: Experiment, device_mesh: Mesh, starts: Starts | None = None, loop: MakeLoop | None = None
  ):
    check_batch(experiment, device_mesh)
    starts = jax.device_get(dict(starts or {}))  # they may lie on another mesh than this one
    self.experiment, self.mesh = experiment, device_mesh
    with mesh.use(device_mesh, experiment.rules):
      self._shardings = layout(experiment, device_mesh, jax.tree.map(lambda x: x[0], starts))
      init = jax.jit(lambda params: state.init(experiment, params), out_shardings=self._shardings)
      self.state: RunState = init(starts)
    self._unjudged_in_a_row = np.zeros(experiment.config.num_seeds, int)
    self.loop: Loop = (loop or loop_of(experiment.task))(experiment, device_mesh, self._shardings)

  @property
  def iterations(self) -> int:
    """Iterations done."""
    return int(self.state.iteration)

  @property
  def generated_tokens(self) -> np.ndarray:
    """Tokens of every seed so far."""
    return state.token_count(np.asarray(mesh.fetched(self.state.seeds.generated_tokens)))

  @property
  def abstract_state(self) -> RunState:
    """Shapes, types and shardings of the state, to restore into."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), self.state)

  @property
  def compile(self) -> Callable[[], None]:
    """Compile the programs that the run needs."""
    return functools.partial(self.loop.compile, self.state)

  def advance(self) -> AdvanceResult:
    """`logging.every_iterations` iterations of all seeds.

    Raises: UserError: in the first iteration sampler and trainer do not agree; a reward is not finite; the verifier
      has given no verdict for too long.
    """
    first, started = self.iterations, time.monotonic()
    self.state, report = self.loop.run(self.state)
    report = jax.device_get(report)
    seconds = time.monotonic() - started
    values = {name: _value(mean) for name, mean in report.metrics.items()}
    values["generated_tokens"] = state.token_count(report.generated_tokens)
    metrics = [{name: value[i] for name, value in values.items()} for i in range(len(report.skipped_in_a_row))]
    self._check_rewards(first, report)
    if first == 0:
      self._check_agreement(report.metrics)
    return AdvanceResult(metrics, self._decode(report.samples), seconds, report.skipped_in_a_row)

  def evaluate(self) -> Metrics:
    """Metrics on the held-out prompts.

    Raises: UserError: a reward is not finite.
    """
    metrics = jax.device_get(self.loop.evaluate(self.state))
    if "held_out/reward" not in metrics:  # of a loop of the user's own
      return metrics
    infinite = ~np.isfinite(metrics["held_out/reward"]) & (np.asarray(metrics["held_out/unscored"]) < 1)
    if np.any(infinite):
      self._refuse_reward(f"evaluation of iteration {self.iterations}", int(np.argmax(infinite)))
    return metrics

  def _check_rewards(self, first: int, report: Report) -> None:
    """Raise UserError for a reward that is not finite, and where the verifier of a device task judges nothing.

    Args:
      first: iterations before those of the report.
    """
    objectives = (f"part/{name}" for name in self.experiment.task.objectives)
    for name in ("reward", *objectives):
      infinite = np.argwhere(~np.isfinite(report.metrics[name].sum))
      if len(infinite):
        self._refuse_reward(f"iteration {first + int(infinite[0, 0]) + 1}", int(infinite[0, 1]))
    task = self.experiment.task
    iterations = report.unjudged if task.on_device else ()  # Python's verifiers are watched where they are asked
    for number, unjudged in enumerate(iterations, first + 1):
      self._unjudged_in_a_row = np.where(unjudged, self._unjudged_in_a_row + 1, 0)
      if np.any(self._unjudged_in_a_row >= task.max_unscored_iterations):
        raise UserError(
          f"iteration {number}: the verifier of {self.experiment.config.task.name} gave no verdict on any response in "
          f"the last {task.max_unscored_iterations} iterations (reward_mask is False on all rows)"
        )

  def _refuse_reward(self, where: str, seed: int) -> NoReturn:
    config = self.experiment.config
    raise UserError(
      f"{where}: a reward of seed {config.seed + seed} is not finite: the verifier of {config.task.name} gives finite "
      "rewards, or none (reward_mask False)"
    )

  def _check_agreement(self, means: Mapping[str, Mean]) -> None:
    config = self.experiment.config
    if config.model.dtype != "float32":
      return  # logged as ratio_error and kl_to_behaviour; lower precision has no common bound
    first_value = lambda mean: np.where(np.asarray(mean.weight)[0] != 0, _value(mean)[0], 0.0)  # no token: no mismatch
    measures = {"max |ratio - 1|": first_value(means["ratio_error"])}
    sampling = config.sampling
    if not (sampling.top_k or sampling.top_p < 1 or sampling.min_p):  # truncation is a divergence of its own
      measures["KL to the behaviour policy"] = first_value(means["kl_to_behaviour"])
    for name, value in measures.items():
      if not np.all(np.abs(value) <= config.sampling.agreement):
        raise UserError(
          f"first iteration: {name} is {np.abs(value).max():.3g}, allowed is {config.sampling.agreement} "
          "(sampling.agreement): the sampler's logprobs are not the trainer's. The model must give the same outputs "
          "token by token as over whole sequences"
        )

  def _decode(self, samples) -> list[dict[str, Any]]:
    task, config = self.experiment.task, self.experiment.config
    width = self.experiment.method.rollout.prompt_width or task.prompt_tokens
    decoded = []
    for seed in range(config.num_seeds):
      tokens, mask, rewards, levels, credit = (x[-1, seed] for x in samples)
      for row in range(tokens.shape[0]):
        parts = [slice(None, width), slice(width, None)]
        ids = [tokens[row, p][mask[row, p]] for p in parts]
        prompt, response = (task.vocabulary.decode(part) for part in ids)
        decoded.append(
          {
            "seed": config.seed + seed,
            "prompt": prompt,
            "response": response,
            "reward": None if np.isnan(rewards[row]) else float(rewards[row]),
            "level": task.levels[int(levels[row])],
            "tokens": [task.vocabulary.decode([token]) for token in ids[1]],
            "credit": [float(f"{x:.4g}") for x in credit[row, parts[1]][mask[row, parts[1]]]],
          }
        )
    return decoded


def _value(mean: Mean) -> np.ndarray:
  """sum / weight; NaN where the weight is 0, as a mean of nothing is not 0."""
  total, weight = np.asarray(mean.sum), np.asarray(mean.weight)
  return np.where(weight != 0, total / np.where(weight != 0, weight, 1), np.nan).astype(total.dtype)


def layout(experiment: Experiment, device_mesh: Mesh, starts: Starts | None = None) -> RunState:
  """The shardings of a run's state.

  Args:
    starts: as for `init_seed`.
  """
  with mesh.use(device_mesh, experiment.rules):
    one_seed = jax.eval_shape(lambda params: state.init_seed(experiment, experiment.config.seed, params), starts)
    replicated: Any = mesh.replicated(device_mesh)
    return RunState(replicated, mesh.shardings(device_mesh, one_seed, experiment.rules))


def check_batch(experiment: Experiment, device_mesh: Mesh) -> list[str]:
  """Raise UserError unless the rows of a plan divide evenly into minibatches, micro-batches and devices.

  A rollout may make another number of rows than the plan has: `update` checks those when it is traced.

  Returns: lines on the sizes to show to the user.
  """
  curriculum, key = experiment.method.curriculum, jax.random.key(0)
  plan, _ = jax.eval_shape(lambda: curriculum.next(curriculum.init(key), experiment.task, key))
  shards = mesh.batch_shards(device_mesh, experiment.rules)
  sizes, rows = sizes_of(experiment.config, shards), plan.row_mask.shape[0]
  sizes.check(rows)
  group = sizes.group or 1
  if sizes.holds(rows, group):
    return []
  return [
    f"the mesh splits rows into {shards} shards, which cut groups of {group} rows (completions_per_prompt): the same "
    "numbers, but prompts are run again for each of their rows; more prompts or fewer shards hold groups together"
  ]
