"""CANON on chains whose responses may be long or short (rl_jax/methods/canon.py, arXiv 2509.23962)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.canon"))
  return common.variant(config, variant)
