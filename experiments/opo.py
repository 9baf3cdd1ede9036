"""OPO on chains of four operations modulo 10 (rl_jax/methods/opo.py, arXiv 2505.23585).

Question: does the minimum-variance baseline help?

Command: rl-jax train opo --workdir=runs/opo
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.opo")
  return common.variant(config, variant)
