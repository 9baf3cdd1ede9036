"""The optimal token baseline on chains of four operations modulo 10
(rl_jax/methods/optimal_token_baseline.py, arXiv 2602.07078).

Question: does a baseline per token, weighted by the gradient so far, help?

Command: rl-jax train optimal_token_baseline --workdir=runs/optimal_token_baseline
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.optimal_token_baseline")
  return common.variant(config, variant)
