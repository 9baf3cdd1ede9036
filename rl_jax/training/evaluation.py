"""Held-out prompts: accuracy of the sampled and of the greedy policy, pass@k."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from rl_jax.rollouts.rollout import BoundModel, assemble, verify
from rl_jax.rollouts.sampler import sample, sampling_from
from rl_jax.rollouts.turns import first_turn, next_turn
from rl_jax.tasks.host import HostTask
from rl_jax.tasks.task import DeviceTask, Prompts, Split
from rl_jax.training.experiment import Experiment
from rl_jax.training.generating import generating
from rl_jax.training.seeds import over_seeds
from rl_jax.training.state import EVALUATION, SeedState, TrainState, iteration_key
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
  """0 where there is no verdict."""
  scored: Bool[Array, "N n"]
  correct: Bool[Array, "N n"]
  """False also where there is no verdict."""
  lengths: Int[Array, "N n"]
  """In tokens."""
  truncated: Bool[Array, "N n"]
  levels: Int[Array, " N"]


class Evaluation(NamedTuple):
  """What the policy answers to the held-out problems."""

  sampled: Answers
  greedy: Answers | None
  """One to each problem; None where the config asks for none."""


def answers(trajectories: Trajectories, per_prompt: int) -> Answers:
  """What scored rows, those of one prompt together, say of their prompts."""
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
  """Ids of the held-out problems: the same at every evaluation and for every seed of a config."""
  section = experiment.config.evaluation
  return experiment.task.problem_ids(jax.random.key(section.prompts_seed), section.prompts, "held_out")


def respond(
  experiment: Experiment,
  seed: SeedState,
  iteration,
  prompts: Prompts,
  chunk=0,
  before: Trajectories | None = None,
  turn=0,
  *,
  greedy: bool,
) -> Trajectories:
  """Unscored responses of one seed's policy (its averaged parameters, where it has them) to held-out prompts.

  Args:
    chunk: number of these prompts' part of all; each part draws with a key of its own.
    before: the responses after their turn `turn` - 1, scored; None before the first turn.
    turn: which of `exchanges` of the task.
    greedy: one greedy response per prompt, instead of `evaluation.samples_per_prompt` sampled ones.
  """
  policy = BoundModel(experiment.models["policy"], seed.models["policy"].evaluated)
  with generating(experiment, {"policy": policy}) as models:
    return _respond(experiment, models["policy"], seed, iteration, prompts, chunk, before, turn, greedy)


def _respond(
  experiment: Experiment,
  policy: BoundModel,
  seed: SeedState,
  iteration,
  prompts: Prompts,
  chunk,
  before: Trajectories | None,
  turn,
  greedy: bool,
) -> Trajectories:
  task, count = experiment.task, 1 if greedy else experiment.config.evaluation.samples_per_prompt
  rows = prompts.tokens.shape[0] * count
  key = jax.random.fold_in(iteration_key(seed, iteration, EVALUATION), chunk)
  limits, row_mask = jnp.full(rows, task.response_tokens), jnp.ones(rows, bool)
  sampling = dataclasses.replace(sampling_from(experiment.config), greedy=greedy)
  if task.turns is not None:
    key = jax.random.fold_in(key, turn)
    options: dict[str, Any] = {"limits": limits, "sampling": sampling}
    if before is None:
      return first_turn(policy, task, prompts, key, completions_per_prompt=count, row_mask=row_mask, **options)
    return next_turn(policy, task, before, turn, key, **options)
  done = sample(
    policy.model,
    policy.params,
    prompts.tokens,
    prompts.mask,
    key,
    completions_per_prompt=count,
    max_tokens=task.response_tokens,
    limits=limits,
    end_id=task.vocabulary.end_id,
    pad_id=task.vocabulary.pad_id,
    sampling=sampling,
  )
  return assemble(
    prompts,
    done.tokens,
    done.mask,
    completions_per_prompt=count,
    row_mask=row_mask,
    truncated=done.truncated,
  )


def exchanges(task: DeviceTask | HostTask) -> int:
  """How often `respond` is called for a response, with the verifier after each time."""
  return 1 if task.turns is None else task.turns.max_turns


def measure(experiment: Experiment, found: Evaluation) -> dict[str, Array]:
  """Metrics of what was answered. A response without a verdict counts as wrong, and in `unscored`."""
  section, levels = experiment.config.evaluation, experiment.task.levels
  sampled, greedy = found
  correct = sampled.correct.astype(jnp.float32)
  metrics = {
    "sampled_accuracy": correct.mean(),
    "reward": sampled.rewards.mean(),
    "unscored": 1.0 - sampled.scored.mean(),
    "response_length": sampled.lengths.mean(),
    "truncated": sampled.truncated.mean(),
    **{f"pass_at_{k}": pass_at_k(correct, k).mean() for k in section.pass_at if k > 1},
  }
  if greedy is not None:
    metrics["greedy_accuracy"] = greedy.correct.mean()
  if len(levels) > 1:
    for index, level in enumerate(levels):
      here = sampled.levels == index
      there = here.sum() * correct.shape[1]
      metrics[f"{level}/sampled_accuracy"] = jnp.sum(correct * here[:, None]) / jnp.maximum(there, 1)
  return {f"held_out/{name}": value for name, value in metrics.items()}


def answer_seed(experiment: Experiment, seed: SeedState, iteration) -> Evaluation:
  """What one seed's policy answers to the held-out prompts of a device task."""
  section = experiment.config.evaluation
  split: Split = "held_out"
  prompts = experiment.task.prompts(questions(experiment), split)

  def one(greedy: bool) -> Answers:
    def exchange(turn, before):
      return verify(
        experiment.task, respond(experiment, seed, iteration, prompts, 0, before, turn, greedy=greedy), split
      )

    rows, turns = exchange(0, None), exchanges(experiment.task)
    if turns > 1:
      rows = jax.lax.fori_loop(1, turns, exchange, rows)
    return answers(rows, 1 if greedy else section.samples_per_prompt)

  return Evaluation(one(False), one(True) if section.greedy else None)


def evaluate_seed(experiment: Experiment, seed: SeedState, iteration) -> dict[str, Array]:
  """Metrics of one seed's policy on the held-out prompts of a device task."""
  return measure(experiment, answer_seed(experiment, seed, iteration))


def evaluate(experiment: Experiment, state: TrainState) -> dict[str, Float[Array, " S"]]:
  """Metrics of every seed."""
  one = lambda seed: evaluate_seed(experiment, seed, state.iteration)
  return over_seeds(one, experiment.config.num_seeds)(state.seeds)
