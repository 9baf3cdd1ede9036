"""CM2 on checklists of items that depend on one another (rl_jax/methods/cm2.py,
rl_jax/tasks/environments/checklist.py, arXiv 2602.12268).

Question: to what should the reward of a checklist be assigned, if its judge errs?

One label in ten is wrong. With method.level=turn and method.level=step the reward is assigned to rounds and to turns.
The variants "easy" and "hard" have one round and four, "smoke" one. experiments/grpo_checklist.py is GRPO on the same
task.

Command: rl-jax train cm2 --workdir=runs/cm2
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"rounds": 1}, "hard": {"rounds": 4}}
"""The ends of the environment's difficulty, as fields of the task."""


def on_checklists(method: str, variant: str) -> ConfigDict:
  """A method on checklists, from a warm start on demonstrations with errors."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.environments.checklist", "flip_rate": 0.1}
  config.prompts_per_iteration = 16
  config.stages.warm_start.update({"num_iterations": 400, "prompts_per_iteration": 128})
  if variant in LEVELS:
    config.task.update(LEVELS[variant])
    return config
  if variant == "smoke":
    config.task.rounds = 1
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return on_checklists("rl_jax.methods.cm2", variant)
