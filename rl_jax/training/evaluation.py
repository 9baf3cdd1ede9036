"""Held-out prompts: accuracy of the sampled and of the greedy policy, pass@k."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from rl_jax.rollouts.rollout import assemble, verify
from rl_jax.rollouts.sampler import sample, sampling_from
from rl_jax.tasks.task import Prompts
from rl_jax.training.experiment import Experiment
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


def questions(experiment: Experiment) -> Int[Array, " N"]:
  """Ids of the held-out problems: the same at every evaluation and for every seed of a config."""
  section = experiment.config.evaluation
  return experiment.task.problem_ids(jax.random.key(section.prompts_seed), section.prompts, "held_out")


def respond(experiment: Experiment, seed: SeedState, iteration, prompts: Prompts, greedy: bool) -> Trajectories:
  """Unscored responses of one seed's policy (its averaged parameters, where it has them) to held-out prompts.

  Args:
    greedy: one greedy response per prompt, instead of `evaluation.samples_per_prompt` sampled ones.
  """
  task, policy = experiment.task, seed.models["policy"]
  count = 1 if greedy else experiment.config.evaluation.samples_per_prompt
  rows = prompts.tokens.shape[0] * count
  done = sample(
    experiment.models["policy"],
    policy.params if policy.average is None else policy.average,
    prompts.tokens,
    prompts.mask,
    iteration_key(seed, iteration, EVALUATION),
    completions_per_prompt=count,
    max_tokens=task.response_tokens,
    limits=jnp.full(rows, task.response_tokens),
    end_id=task.vocabulary.end_id,
    pad_id=task.vocabulary.pad_id,
    sampling=dataclasses.replace(sampling_from(experiment.config), greedy=greedy),
  )
  return assemble(
    prompts,
    done.tokens,
    done.mask,
    completions_per_prompt=count,
    row_mask=jnp.ones(rows, bool),
    truncated=done.truncated,
  )


def measure(experiment: Experiment, sampled: Trajectories, greedy: Trajectories | None) -> dict[str, Array]:
  """Metrics of scored responses. A response without a verdict counts as wrong, and in `unscored`."""
  section, task = experiment.config.evaluation, experiment.task
  correct = (sampled.scored & (sampled.rewards >= 1.0)).astype(jnp.float32)
  by_prompt = correct.reshape(-1, section.samples_per_prompt)
  metrics = {
    "sampled_accuracy": correct.mean(),
    "reward": jnp.where(sampled.scored, sampled.rewards, 0.0).mean(),
    "unscored": 1.0 - sampled.scored.mean(),
    "response_length": sampled.response_lengths.mean(),
    "truncated": sampled.truncated.mean(),
    **{f"pass_at_{k}": pass_at_k(by_prompt, k).mean() for k in section.pass_at if k > 1},
  }
  if greedy is not None:
    metrics["greedy_accuracy"] = (greedy.scored & (greedy.rewards >= 1.0)).mean()
  if len(task.levels) > 1:
    for index, level in enumerate(task.levels):
      here = sampled.extras["levels"] == index
      metrics[f"{level}/sampled_accuracy"] = jnp.sum(correct * here) / jnp.maximum(here.sum(), 1)
  return {f"held_out/{name}": value for name, value in metrics.items()}


def evaluate_seed(experiment: Experiment, seed: SeedState, iteration) -> dict[str, Array]:
  """Metrics of one seed's policy on the held-out prompts of a device task."""
  prompts = experiment.task.prompts(questions(experiment), "held_out")
  answer = lambda greedy: verify(
    experiment.task, respond(experiment, seed, iteration, prompts, greedy), "held_out"
  )
  return measure(experiment, answer(False), answer(True) if experiment.config.evaluation.greedy else None)


def evaluate(experiment: Experiment, state: TrainState) -> dict[str, Float[Array, " S"]]:
  """Metrics of every seed."""
  one = lambda seed: evaluate_seed(experiment, seed, state.iteration)
  return over_seeds(one, experiment.config.num_seeds)(state.seeds)
