"""DLER on chains whose responses may be long or short (rl_jax/methods/dler.py, arXiv 2510.15110)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.dler"))
  return common.variant(config, variant)
