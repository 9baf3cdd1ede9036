"""RLOO on chains of four operations modulo 10 (rl_jax/methods/rloo.py, arXiv 2402.14740)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.rloo")
  return common.variant(config, variant)
