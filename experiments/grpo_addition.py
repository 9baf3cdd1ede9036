"""GRPO on additions of three digits, written digit by digit with carries (rl_jax/tasks/addition.py)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.grpo")
  config.method.kl_coefficient = 0.0
  config.task = {"name": "rl_jax.tasks.addition", "levels": {"three": {"digits": 3}}}
  return common.variant(config, variant)
