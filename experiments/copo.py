"""COPO on chains of four operations modulo 10, six responses to a prompt (rl_jax/methods/copo.py, arXiv 2508.04138)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.copo")
  config.completions_per_prompt = 6
  return common.variant(config, variant)
