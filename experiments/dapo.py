"""DAPO on chains of four operations modulo 10 (rl_jax/methods/dapo.py, arXiv 2503.14476)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dapo")
  return common.variant(config, variant)
