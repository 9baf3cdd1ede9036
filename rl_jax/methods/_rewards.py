"""Learned reward models of a method: their options, the role, and losses over all heads of a model of experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Num
from ml_collections import ConfigDict

from rl_jax.inputs.ranges import WHOLE
from rl_jax.kernels.reductions import Mean
from rl_jax.methods.method import ModelRole
from rl_jax.models import reward_experts
from rl_jax.tasks.task import Task


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
