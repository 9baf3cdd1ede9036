"""REINFORCE++ on chains of four operations modulo 10 (rl_jax/methods/reinforce_pp.py, arXiv 2501.03262)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.reinforce_pp")
  return common.variant(config, variant)
