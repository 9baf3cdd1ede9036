"""ADORA on chains whose responses may be long or short (rl_jax/methods/adora.py, arXiv 2602.10019)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.adora"))
  return common.variant(config, variant)
