"""T-PPO on chains of four operations modulo 10 (rl_jax/methods/tppo.py, arXiv 2506.15050).

The policy waits for its critic, but in the variant "smoke", which ends before.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.tppo")
  config.method.critic_learning_rate = 3e-3  # what an answer is worth at the cut is the critic's guess alone
  config.method.critic_warmup_iterations = 0 if variant == "smoke" else 40
  return common.variant(config, variant)
