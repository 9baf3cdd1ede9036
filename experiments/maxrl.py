"""MaxRL on chains of four operations modulo 10 (rl_jax/methods/maxrl.py, arXiv 2602.02710).

Question: do rarely solved prompts gain from the weights of maximum likelihood?

Command: rl-jax train maxrl --workdir=runs/maxrl
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.maxrl")
  return common.variant(config, variant)
