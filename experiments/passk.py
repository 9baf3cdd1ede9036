"""Pass@4 training on chains of four operations modulo 10 (rl_jax/methods/passk.py, arXiv 2503.19595).

The estimator for fewer answers than the group has is that of arXiv 2505.15201.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.passk")
  config.method.k = 4
  return common.variant(config, variant)
