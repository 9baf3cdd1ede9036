"""GRPO on independent decisions, one per turn (rl_jax/methods/grpo.py,
rl_jax/tasks/environments/decisions.py).

Question: how much of the advantage of one decision is due to the luck of the others?

An episode's reward is the share of right decisions, and each is rewarded at once. The start decides at random in half
of the cases. With task.reward=all only an episode without a wrong decision earns a reward. The variants "easy" and
"hard" have two decisions and eight; "smoke" has two, modulo 2.

Command: rl-jax train grpo_decisions --workdir=runs/grpo_decisions
Study: rl-jax study slate --only=grpo_4 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 21 s.
Expected: held_out/reward after 40,000 tokens: grpo_4 0.925 ± 0.062; 6 seeds (results/slate.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"two": {"decisions": 2}}, "hard": {"eight": {"decisions": 8}}}
"""Easiest and hardest setting of the environment."""


def deciding(method: str, variant: str) -> ConfigDict:
  """A method on the decisions, from a warm start on demonstrations with errors."""
  config = common.policy_gradient(method)
  config.task = {
    "name": "rl_jax.tasks.environments.decisions",
    "levels": {"turns": {"decisions": 4}},
    "error_rate": 0.5,
  }
  config.prompts_per_iteration = 8
  config.num_iterations = 100
  config.stages.warm_start.update({"num_iterations": 300, "prompts_per_iteration": 128})
  if variant in LEVELS:
    config.task.levels = LEVELS[variant]
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.levels = LEVELS["easy"]
    config.task.modulus = 2
  return config


def get_config(variant: str = ""):
  return deciding("rl_jax.methods.grpo", variant)
