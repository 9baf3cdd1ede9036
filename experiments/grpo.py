"""GRPO on chains of four operations modulo 10 (rl_jax/methods/grpo.py, arXiv 2402.03300)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.grpo")
  config.method.kl_coefficient = 0.0  # the paper's 0.04 keeps the policy near a warm start that is often wrong
  return common.variant(config, variant)
