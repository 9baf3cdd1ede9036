"""IGPO on lookups of three hops in a hidden table (rl_jax/methods/igpo.py, rl_jax/tasks/lookup.py, arXiv 2510.14967).

Question: does information gain help if nearly all groups fail at first?

The variants "easy" and "hard" have one and six hops; "smoke" has a table of four keys, where a guess is often right.
experiments/grpo_lookup.py is GRPO on the same task.

Command: rl-jax train igpo --workdir=runs/igpo
Study: rl-jax study turns --only=igpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 128 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: igpo 0.878 ± 0.007; 5 seeds (results/turns.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"hops": 1, "keys": 10}, "hard": {"hops": 6, "keys": 20}}
"""Easiest and hardest setting of the task."""


def on_lookup(method: str, variant: str) -> ConfigDict:
  """A method on the task, from a warm start that guesses more often than not."""
  config = common.policy_gradient(method)
  config.task = {
    "name": "rl_jax.tasks.lookup",
    "levels": {"three": {"hops": 3, "keys": 4 if variant == "smoke" else 10}},
    "guess_rate": 0.5,
  }
  if variant in LEVELS:
    config.task.levels = {variant: LEVELS[variant]}
    return config
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return on_lookup("rl_jax.methods.igpo", variant)
