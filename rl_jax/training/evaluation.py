"""Evaluation on held-out prompts: sampled and greedy accuracy, pass@k."""

from __future__ import annotations

import dataclasses
import functools
import math
from contextlib import AbstractContextManager
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from rl_jax.curricula.curriculum import Plan
from rl_jax.rollouts.rollout import BoundModel, Models, Rollout, collect
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.host import HostTask
from rl_jax.tasks.task import Task
from rl_jax.training.experiment import Experiment
from rl_jax.training.rollout_layout import generating
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import EVALUATION, RunState, TrainState, bind, iteration_key
from rl_jax.trajectories import Trajectories


def pass_at_k(correct: Float[Array, "N n"], k: int) -> Float[Array, " N"]:
  """Probability that at least one of k draws without replacement is right: 1 - C(n-c, k) / C(n, k).

  The unbiased estimator of Chen et al. 2021 (arXiv 2107.03374, eq. 1), from n samples of which c are right.

  Raises: ValueError when k is not in 1..n.
  """
  n = correct.shape[1]
  if not 1 <= k <= n:
    raise ValueError(f"pass@{k} needs at least {k} samples per prompt, got {n}: raise evaluation.samples_per_prompt")
  ways = jnp.asarray([math.comb(wrong, k) / math.comb(n, k) for wrong in range(n + 1)])
  return 1.0 - ways[n - correct.sum(axis=1).astype(jnp.int32)]


class Answers(NamedTuple):
  """Scored responses to N held-out problems, n to each."""

  rewards: Float[Array, "N n"]
  """0 for a response without a verdict."""
  scored: Bool[Array, "N n"]
  correct: Bool[Array, "N n"]
  """False also for a response without a verdict."""
  lengths: Int[Array, "N n"]
  """Lengths in tokens."""
  truncated: Bool[Array, "N n"]
  levels: Int[Array, " N"]


class Evaluation(NamedTuple):
  """The policy's answers to the held-out problems."""

  sampled: Answers
  greedy: Answers | None
  """One answer to each problem; None if the config asks for none."""


def answers(trajectories: Trajectories, per_prompt: int) -> Answers:
  """Answers of scored rows, where the rows of a prompt are adjacent."""
  grouped = lambda x: x.reshape(-1, per_prompt)
  return Answers(
    rewards=grouped(jnp.where(trajectories.scored, trajectories.rewards, 0.0)),
    scored=grouped(trajectories.scored),
    correct=grouped(trajectories.correct),
    lengths=grouped(trajectories.response_lengths),
    truncated=grouped(trajectories.truncated),
    levels=grouped(trajectories.extras["levels"])[:, 0],
  )


def questions(experiment: Experiment) -> Int[Array, " N"]:
  """Ids of the held-out problems, the same in every evaluation and for every seed of a config."""
  section = experiment.config.evaluation
  return experiment.task.problem_ids(jax.random.key(section.prompts_seed), section.prompts, "held_out")


class HeldOutRollout(NamedTuple):
  """Rollout of one set of held-out responses: the method's plain one."""

  rollout: Rollout
  completions: int
  """Responses to each problem."""

  def plan(self, task: Task | HostTask, ids: Int[Array, " N"]) -> Plan:
    """Plan of all responses to these problems, with the task's maximal length."""
    rows = ids.shape[0] * self.completions
    return Plan(ids, jnp.ones(rows, bool), jnp.full(rows, task.response_tokens))

  def key(self, key: PRNGKeyArray, phase: int) -> PRNGKeyArray:
    """Key of a phase. A single phase uses the evaluation's own key, as recorded runs did."""
    return key if len(self.rollout.phases) == 1 else jax.random.fold_in(key, phase)


def held(experiment: Experiment, *, greedy: bool) -> HeldOutRollout:
  """`evaluation.samples_per_prompt` sampled responses to each prompt, or one greedy one."""
  count = 1 if greedy else experiment.config.evaluation.samples_per_prompt
  sampling = dataclasses.replace(sampling_from(experiment.config), greedy=greedy)
  respond = experiment.method.rollout.respond or functools.partial(responses, experiment.task)
  return HeldOutRollout(respond(count, sampling), count)


def evaluated(experiment: Experiment, seed: TrainState) -> AbstractContextManager[Models]:
  """Policy of one seed for evaluation, with averaged parameters if it has them."""
  model, role = experiment.models["policy"], experiment.method.models["policy"]
  model = model if role.trained else model.base  # as `bind`: frozen ones have no adapters
  return generating(experiment, {"policy": BoundModel(model, seed.models["policy"].evaluated)})


def evaluation_key(seed: TrainState, iteration: int | Int[Array, ""], chunk: int | Int[Array, ""] = 0) -> PRNGKeyArray:
  """Args: chunk: index of a part of the held-out prompts, each with its own key."""
  return jax.random.fold_in(iteration_key(seed, iteration, EVALUATION), chunk)


def measure(experiment: Experiment, evaluation: Evaluation) -> dict[str, Array]:
  """Metrics of the answers. A response without a verdict counts as wrong, and in `unscored`; if none has a verdict,
  the metric is NaN. The mean reward is over responses with a verdict. The length of right responses is NaN if there are
  none."""
  section, levels = experiment.config.evaluation, experiment.task.levels
  sampled, greedy = evaluation
  correct = sampled.correct.astype(jnp.float32)
  judged = lambda value, scored: jnp.where(scored.any(), value, jnp.nan)
  metrics = {
    "sampled_accuracy": judged(correct.mean(), sampled.scored),
    "reward": jnp.mean(sampled.rewards, where=sampled.scored),
    "unscored": 1.0 - sampled.scored.mean(),
    "response_length": sampled.lengths.mean(),
    "correct_response_length": jnp.mean(sampled.lengths, where=sampled.correct),
    "truncated": sampled.truncated.mean(),
    **{f"pass_at_{k}": judged(pass_at_k(correct, k).mean(), sampled.scored) for k in section.pass_at if k > 1},
  }
  if greedy is not None:
    metrics["greedy_accuracy"] = judged(greedy.correct.mean(), greedy.scored)
  for index, block in enumerate(_blocks(len(correct), section.get("prompt_blocks", 0))):
    metrics[f"prompt_blocks/{index:02d}"] = judged(correct[block].mean(), sampled.scored[block])
  if len(levels) > 1:
    for index, level in enumerate(levels):
      at_level = (sampled.levels == index)[:, None]
      count = at_level.sum() * correct.shape[1]
      accuracy = jnp.sum(correct * at_level) / jnp.maximum(count, 1)
      metrics[f"{level}/sampled_accuracy"] = judged(accuracy, sampled.scored & at_level)
  return {f"held_out/{name}": value for name, value in metrics.items()}


def names(experiment: Experiment) -> set[str]:
  """Names of the metrics of `measure`, before anything is compiled. Those of the method's own evaluations (`named`)
  are unknown before they are traced."""
  section = experiment.config.evaluation

  def unanswered(count: int) -> Answers:
    numbers, levels = jnp.zeros((section.prompts, count)), jnp.zeros(section.prompts, jnp.int32)
    return Answers(numbers, numbers > 0, numbers > 0, numbers.astype(jnp.int32), numbers > 0, levels)

  def metrics() -> dict[str, Array]:
    greedy = unanswered(1) if section.greedy else None
    return measure(experiment, Evaluation(unanswered(section.samples_per_prompt), greedy))

  return set(jax.eval_shape(metrics))


def _blocks(prompts: int, count: int) -> list[np.ndarray]:
  """Indices of prompts in `count` parts of nearly equal size."""
  return np.array_split(np.arange(prompts), count) if count else []


def answer_seed(experiment: Experiment, seed: TrainState, iteration: int | Int[Array, ""]) -> Evaluation:
  """Answers of one seed's policy to the held-out prompts of a device task."""
  task, ids = experiment.task, questions(experiment)

  def one(greedy: bool) -> Answers:
    kind, key = held(experiment, greedy=greedy), evaluation_key(seed, iteration)
    state, key_of = kind.rollout.init(key), functools.partial(kind.key, key)
    with evaluated(experiment, seed) as models:
      result = collect(kind.rollout, models, state, kind.plan(task, ids), task, "held_out", key_of)
    return answers(result.trajectories, kind.completions)

  return Evaluation(one(False), one(True) if experiment.config.evaluation.greedy else None)


NAMED = 1 << 29
"""Number that the key is folded with for the first of a method's own evaluations; see `credit.CREDIT`."""


def named(experiment: Experiment, seed: TrainState, iteration: int | Int[Array, ""]) -> dict[str, Array]:
  """The method's own evaluations of one seed, as <evaluation>/<metric>."""
  states = {name: state.replace(params=state.evaluated) for name, state in seed.models.items()}
  metrics: dict[str, Array] = {}
  with generating(experiment, bind(experiment, states)) as models:
    for index, (name, measured) in enumerate(experiment.method.evaluations.items()):
      key = jax.random.fold_in(iteration_key(seed, iteration, EVALUATION), NAMED + index)
      value = lambda mean: jnp.where(mean.weight != 0, mean.value, jnp.nan)
      metrics |= {f"{name}/{metric}": value(mean) for metric, mean in measured(models, key).items()}
  return metrics


def evaluate_seed(experiment: Experiment, seed: TrainState, iteration: int | Int[Array, ""]) -> dict[str, Array]:
  """Metrics of one seed's policy on the held-out prompts of a device task."""
  return measure(experiment, answer_seed(experiment, seed, iteration)) | named(experiment, seed, iteration)


def evaluate(experiment: Experiment, state: RunState) -> dict[str, Float[Array, " S"]]:
  """Metrics of every seed."""
  evaluate_one = lambda seed: evaluate_seed(experiment, seed, state.iteration)
  return over_seeds(evaluate_one, experiment.config.num_seeds)(state.seeds)
