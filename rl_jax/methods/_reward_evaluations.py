"""Evaluations of a learned reward model: agreement with preferences, and the worth of the best of n responses by it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Plan
from rl_jax.kernels.losses.ranking import best_of_n, ranking_consistency
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods.method import Evaluation
from rl_jax.rollouts.comparisons import RESPONSES, comparisons
from rl_jax.rollouts.rollout import BoundModel, Models, Rollout, collect
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

_RESOLUTION = 1e4
"""Rewards that differ by less than half of its inverse are tied: rounding is no preference."""


def evaluations(config: ConfigDict, task: Task, by: str) -> dict[str, Evaluation]:
  """Evaluations of the model "reward"; each is left out if its number in the config is 0.

  pairs: agreement on held-out pairs, as `consistency` with the gold reward and `label_consistency` with the labels,
    whose noise bounds it. For a router, `routed` is the share of prompts whose member has the number of their level.
  best_of: `gold_n` and `proxy_n`, the mean gold and learned reward of the best of n responses by the learned one, for n
    of 1, 2, 4, … up to `best_of`, to held-out prompts. Over-optimisation is a gold reward that falls as the learned one
    rises.

  Args:
    by: the model that writes the responses of `best_of`.
  """
  m = config.method

  def rows_of(rollout: Rollout, prompts: int, responses: int, models: Models, key: PRNGKeyArray) -> Trajectories:
    ids = task.problem_ids(jax.random.key(config.evaluation.prompts_seed), prompts, "held_out")
    rows = prompts * responses
    plan = Plan(ids, jnp.ones(rows, bool), jnp.full(rows, task.response_tokens))
    phase_key = lambda phase: jax.random.fold_in(key, phase)
    return collect(rollout, models, rollout.init(key), plan, task, "held_out", phase_key).trajectories

  def rewards_of(bound: BoundModel, rows: Trajectories, *names: str) -> dict[str, Array]:
    return dataclasses.replace(bound.model, names=("rewards", *names)).outputs(bound.params, rows)

  def pairs(models: Models, key: PRNGKeyArray) -> dict[str, Mean]:
    rows = rows_of(comparisons(task), m.held_out_pairs, RESPONSES, models, key)
    routed = getattr(models["reward"].model, "routed", False)
    found = rewards_of(models["reward"], rows, *(("members",) if routed else ()))
    agreement = lambda ranks, mask: ranking_consistency(found["rewards"], ranks, rows.group_ids, mask)
    metrics = {
      "consistency": agreement(gold_ranks(rows), rows.scored),
      "label_consistency": agreement(rows.extras["ranks"], rows.row_mask & (rows.extras["ranks"] > 0)),
    }
    if routed:
      metrics["routed"] = masked_mean(jnp.argmax(found["members"], axis=1) == rows.extras["levels"], rows.row_mask)
    return metrics

  def best_of(models: Models, key: PRNGKeyArray) -> dict[str, Mean]:
    rows = rows_of(responses(task, m.best_of, sampling_from(config), by), m.best_of_prompts, m.best_of, models, key)
    rewards, index = rewards_of(models["reward"], rows)["rewards"], jnp.arange(rows.row_mask.shape[0])
    metrics: dict[str, Mean] = {}
    for n in (2**power for power in range(m.best_of.bit_length())):
      groups = rows.group_ids * m.best_of + index % m.best_of // n
      best = best_of_n(rewards, groups, rows.scored & (index % m.best_of < m.best_of // n * n))
      metrics |= {f"gold_{n}": masked_mean(rows.rewards, best), f"proxy_{n}": masked_mean(rewards, best)}
    return metrics

  found: dict[str, Evaluation] = {"pairs": pairs} if m.held_out_pairs else {}
  return found | ({"best_of": best_of} if m.best_of and m.best_of_prompts else {})


def gold_ranks(trajectories: Trajectories) -> Float[Array, " B"]:
  """Ranks of responses by the task's own reward."""
  return -jnp.round(trajectories.rewards * _RESOLUTION)
