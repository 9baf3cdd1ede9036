"""VeRPO on attempts that near-duplicate checks look at (rl_jax/methods/verpo.py,
rl_jax/tasks/environments/duplicate_checks.py, arXiv 2601.03525).

Question: do rare checks of the group teach what eight easy ones drown?

The variant "easy" has demonstrations with fewer errors in the digits of the hard checks, "hard" gives one attempt only,
"smoke" has three digits and few errors. experiments/grpo_checks.py is GRPO on the same task.

Command: rl-jax train verpo --workdir=runs/verpo
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"hard_error_rate": 0.4}, "hard": {"max_turns": 1}}
"""The ends of the environment's difficulty, as fields of the task."""


def on_checks(method: str, variant: str) -> ConfigDict:
  """A method on the checks, from a warm start on demonstrations with errors."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.environments.duplicate_checks"}
  config.prompts_per_iteration = 16
  config.stages.warm_start.update({"num_iterations": 400, "prompts_per_iteration": 128})
  if variant in LEVELS:
    config.task.update(LEVELS[variant])
    return config
  if variant == "smoke":
    config.task.update({"base": 3, "easy_error_rate": 0.1, "hard_error_rate": 0.3})
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return on_checks("rl_jax.methods.verpo", variant)
