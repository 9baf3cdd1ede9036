"""GPG on chains of four operations modulo 10 (rl_jax/methods/gpg.py, arXiv 2504.02546)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.gpg")
  return common.variant(config, variant)
