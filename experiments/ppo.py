"""PPO with a critic on chains of four operations modulo 10 (rl_jax/methods/ppo.py, arXiv 1707.06347)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.ppo")
  config.method.critic_learning_rate = 1e-3
  return common.variant(config, variant)
