"""T-PPO on chains of four operations modulo 10 (rl_jax/methods/tppo.py, arXiv 2506.15050)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.tppo")
  config.method.critic_init_from = "critic#critic"  # what an answer is worth at the cut is the critic's guess alone
  config.method.critic_learning_rate = 6e-4
  config.method.staggered = True
  return common.variant(config, variant)
