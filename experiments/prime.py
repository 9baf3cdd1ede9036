"""PRIME on chains of four operations modulo 10 (rl_jax/methods/prime.py, arXiv 2502.01456)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.prime")
  return common.variant(config, variant)
