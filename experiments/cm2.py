"""CM2 on checklists of items that depend on one another (rl_jax/methods/cm2.py,
rl_jax/tasks/environments/checklist.py, arXiv 2602.12268).

Question: should the reward of a checklist go to trajectories, turns or steps, if its judge errs?

One label in ten is wrong, and a lure makes the start's most likely episode wrong. With method.level=turn and
method.level=step the reward is assigned to rounds and to turns. The variants "easy" and "hard" have one round and four;
"smoke" has one round, four letters, no errors and no lure. experiments/grpo_checklist.py is GRPO on the same task.

Command: rl-jax train cm2 --workdir=runs/cm2
Study: rl-jax study cm2 --only=trajectory --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 104 s.
Expected: held_out/sampled_accuracy after 80,000 tokens: trajectory 0.572 ± 0.093; 6 seeds (results/cm2.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"rounds": 1}, "hard": {"rounds": 4}}
"""Easiest and hardest setting of the environment, as fields of the task."""


def on_checklists(method: str, variant: str) -> ConfigDict:
  """A method on checklists, from a warm start on demonstrations that mostly write the letters as they were asked."""
  config = common.policy_gradient(method)
  config.task = {
    "name": "rl_jax.tasks.environments.checklist",
    "steps": 3,
    "flip_rate": 0.1,
    "error_rate": 0.1,
    "lure_rate": 0.7,
  }
  config.prompts_per_iteration = 16
  config.stages.warm_start.update({"num_iterations": 400, "prompts_per_iteration": 128})
  config.stages.warm_start.task = {"flip_rate": 0.0, "strict": False}  # one start for all judges, trained without one
  if variant in LEVELS:
    config.task.update(LEVELS[variant])
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.update({"letters": 4, "rounds": 1, "steps": 4, "flip_rate": 0.0, "lure_rate": 0.0})
    config.stages.warm_start.num_iterations = 80
  return config


def get_config(variant: str = ""):
  return on_checklists("rl_jax.methods.cm2", variant)
