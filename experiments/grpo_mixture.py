"""GRPO on a mixture of named difficulty levels: chains of two, four and eight operations (rl_jax/methods/grpo.py).

Question: which levels of a mixture does GRPO learn first?

Command: rl-jax train grpo_mixture --workdir=runs/grpo_mixture
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.grpo")
  config.method.kl_coefficient = 0.0
  config.task.levels = {
    "two": {"operations": 2, "operators": "+-", "modulus": 10, "weight": 1.0},
    "four": {"operations": 4, "operators": "+-*", "modulus": 10, "weight": 2.0},
    "eight": {"operations": 8, "operators": "+-*", "modulus": 10, "weight": 1.0},
  }
  return common.variant(config, variant)
