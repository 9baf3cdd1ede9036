"""Learned reward models: the role, how often they agree with preferences, and what the best of n by them is worth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num, PRNGKeyArray
from ml_collections import ConfigDict

from rl_jax.curricula.curriculum import Plan
from rl_jax.inputs.ranges import WHOLE
from rl_jax.kernels.losses.ranking import best_of_n, ranking_consistency
from rl_jax.kernels.reductions import Mean, masked_mean
from rl_jax.methods.method import ModelRole
from rl_jax.models import reward_experts
from rl_jax.rollouts.comparisons import RESPONSES, comparisons
from rl_jax.rollouts.rollout import BoundModel, Models, Rollout, collect
from rl_jax.rollouts.sampler import sampling_from
from rl_jax.rollouts.turns import responses
from rl_jax.tasks.task import Task
from rl_jax.trajectories import Trajectories

_RESOLUTION = 1e4
"""Rewards that differ by less than half of its inverse are tied: rounding is no preference."""


def options() -> dict[str, Any]:
  """Options of a method with a learned reward."""
  return {
    "reward": {
      "init_from": "",  # a stage or a run, as in "fusion#reward"
      "model": {},  # fields in which it differs from the section `model`, with its `name`
    },
    "held_out_pairs": 512,  # pairs on which the reward model is evaluated; 0: none
    "best_of": 16,  # largest number of responses that it picks the best of; 0: none
    "best_of_prompts": 64,  # held-out prompts of these
  }


RANGES = dict.fromkeys(("held_out_pairs", "best_of", "best_of_prompts"), WHOLE)


def role(config: ConfigDict, outputs: tuple[str, ...], trained: Any = False, **fields: Any) -> ModelRole:
  """The model of a method's section `reward`, with the sizes of the section `model` and its own `fields`."""
  section = config.method.reward
  sizes = {name: config.model[name] for name in SIZES if name in config.model}
  own = {**sizes, **section.model.to_dict(), **fields}
  return ModelRole(config=own, init_from=section.init_from, outputs=outputs, trained=trained)


SIZES = ("width", "layers", "heads", "key_value_heads", "head_width", "feed_forward")
"""Fields that a reward model shares with the policy unless it has its own."""

Evaluation = Callable[[Models, PRNGKeyArray], dict[str, Mean]]


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
    metrics = {}
    for n in (2**power for power in range(m.best_of.bit_length())):
      groups = rows.group_ids * m.best_of + index % m.best_of // n
      best = best_of_n(rewards, groups, rows.scored & (index % m.best_of < m.best_of // n * n))
      metrics |= {f"gold_{n}": masked_mean(rows.rewards, best), f"proxy_{n}": masked_mean(rewards, best)}
    return metrics

  found = {"pairs": pairs} if m.held_out_pairs else {}
  return found | ({"best_of": best_of} if m.best_of and m.best_of_prompts else {})


def routes(section: ConfigDict, task: Task) -> bool:
  """Return whether a reward model of experts routes prompts. Raises ValueError if its sizes are not the task's."""
  model = reward_experts.get_config() | section.to_dict()
  routed = model["combine"] == "routed" and model["members"] > 1
  wanted = {"members": (len(task.levels), "kinds of prompts")} if routed else {}
  wanted |= {"experts": (len(task.aspects), "aspects")} if model["experts"] else {}
  for name, (count, what) in wanted.items():
    if model[name] != count:
      raise ValueError(f"method.reward.model.{name}={model[name]}: this task has {count} {what}")
  return routed


Ranking = Callable[[Array, Array, Array, Array], Mean]


def of_each(
  kernel: Ranking,
  rewards: Float[Array, "B Q H"],
  ranks: Num[Array, "B #Q #H"],
  group_ids: Int[Array, " B"],
  mask: Bool[Array, "B Q H"],
) -> Mean:
  """A kernel of losses.ranking, added over the heads of all members, each on the rows of its mask."""
  flat = lambda x: jnp.broadcast_to(x, rewards.shape).reshape(rewards.shape[0], -1)
  means = jax.vmap(kernel, in_axes=(1, 1, None, 1))(flat(rewards), flat(ranks), group_ids, flat(mask))
  return jax.tree.map(jnp.sum, means)


def gold_ranks(trajectories: Trajectories) -> Float[Array, " B"]:
  """Ranks of responses by the task's own reward."""
  return -jnp.round(trajectories.rewards * _RESOLUTION)
