"""SPO-tree on chains of four operations modulo 10 (rl_jax/methods/spo_tree.py, arXiv 2505.23564)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.spo_tree")
  config.method.branching = (3, 3, 3)  # 39 edges of each prompt
  config.method.segment_tokens = 4  # two steps
  return common.variant(config, variant)
