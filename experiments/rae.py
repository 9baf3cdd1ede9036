"""RAE on chains of two and of four operations modulo 10, each a role (rl_jax/methods/rae.py, arXiv 2506.24119).

Question: does a running mean of each level's rewards suffice as a baseline?

Command: rl-jax train rae --workdir=runs/rae
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.rae")
  config.task.levels.two = dict(config.task.levels.four, operations=2)
  return common.variant(config, variant)
