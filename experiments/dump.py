"""DUMP on six difficulty levels: chains of two to eight operations (rl_jax/methods/dump.py, arXiv 2504.09710)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dump")
  names = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8}
  config.task.levels = {name: {"operations": n, "operators": "+-*", "modulus": 10} for name, n in names.items()}
  return common.variant(config, variant)
