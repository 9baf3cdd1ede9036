"""VeRPO on attempts tested by near-duplicate checks (rl_jax/methods/verpo.py,
rl_jax/tasks/environments/duplicate_checks.py, arXiv 2601.03525).

Question: do weights for checks that the group rarely passes teach what eight easy checks drown out?

The start passes easy checks four times in five, a hard one once in seven: a lure makes its most likely attempt wrong.
The variant "easy" has a weaker lure, "hard" gives one attempt only, "smoke" has two digits, few errors and no lure.
experiments/grpo_checks.py is GRPO on the same task.

Command: rl-jax train verpo --workdir=runs/verpo
Study: rl-jax study verpo --only=verpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 106 s.
Expected: held_out/sampled_accuracy after 150,000 tokens: verpo 0.976 ± 0.036; 6 seeds (results/verpo.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"lure_rate": 0.5}, "hard": {"max_turns": 1}}
"""Easiest and hardest setting of the environment, as fields of the task."""


def on_checks(method: str, variant: str) -> ConfigDict:
  """A method on the checks, from a warm start on demonstrations that mostly repeat the prompt."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.environments.duplicate_checks", "hard_error_rate": 0.1, "lure_rate": 0.85}
  config.prompts_per_iteration = 16
  config.stages.warm_start.update({"num_iterations": 400, "prompts_per_iteration": 128})
  if variant in LEVELS:
    config.task.update(LEVELS[variant])
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.update({"base": 2, "held_out_fraction": 0.25, "easy_error_rate": 0.1, "lure_rate": 0.0})
    config.stages.warm_start.num_iterations = 80
  return config


def get_config(variant: str = ""):
  return on_checks("rl_jax.methods.verpo", variant)
