"""GRPO in two rooms, with a door between start and goal (rl_jax/methods/grpo.py, rl_jax/tasks/environments/rooms.py).

Question: does one number for a whole episode teach a policy to fetch a key first?

GRPO has one number for a whole episode. With method.name=rl_jax.methods.ppo and task.key_reward=0.5 the turn that takes
a key gets its reward; with method.name=rl_jax.methods.oracle the advantages of turns are exact. The variant "easy" has
two rooms of three cells in a row, "hard" three rooms of six cells, "smoke" two rooms of two cells.

Command: rl-jax train grpo_rooms --workdir=runs/grpo_rooms
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {
  "easy": {"levels": {"easy": {"doors": 1}}, "width": 3, "height": 1},
  "hard": {"levels": {"hard": {"doors": 2}}, "width": 3, "height": 2},
}
"""Easiest and hardest setting of the environment, as fields of the task."""


def in_rooms(method: str, variant: str) -> ConfigDict:
  """A method in the rooms, from a warm start whose steps are random half of the time."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.environments.rooms", "levels": {"one": {"doors": 1}}, "stray_rate": 0.5}
  if variant in LEVELS:
    for field, value in LEVELS[variant].items():
      config.task[field] = value  # `update` would leave the other level
    return config
  if variant == "smoke":
    config.task.update({"width": 2, "height": 1, "max_turns": 4, "stray_rate": 0.3})
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return in_rooms("rl_jax.methods.grpo", variant)
