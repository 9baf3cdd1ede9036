"""Dr. GRPO on chains of four operations modulo 10 (rl_jax/methods/dr_grpo.py, arXiv 2503.20783)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dr_grpo")
  return common.variant(config, variant)
