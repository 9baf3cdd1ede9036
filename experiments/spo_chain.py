"""SPO-chain on chains of four operations modulo 10 (rl_jax/methods/spo_chain.py, arXiv 2505.23564)."""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.spo_chain")
  # Answers have 11 tokens, of which four or five are uncertain: the paper's interval of 5 would hardly cut them.
  config.method.interval = 1
  config.method.max_segments = 4
  config.method.completions_per_cut = 4
  return common.variant(config, variant)
