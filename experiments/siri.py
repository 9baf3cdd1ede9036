"""SIRI on chains whose responses may be long or short, three cycles (rl_jax/methods/siri.py, arXiv 2509.25176)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.siri"))
  config.num_iterations = 300
  config.method.cycle = 4 if variant == "smoke" else 100
  return common.variant(config, variant)
