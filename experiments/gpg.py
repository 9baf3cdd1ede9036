"""GPG on chains of four operations modulo 10 (rl_jax/methods/gpg.py, arXiv 2504.02546).

Question: does the plain policy gradient, with the mean over rows that have a gradient, match GRPO?

Command: rl-jax train gpg --workdir=runs/gpg
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.gpg")
  return common.variant(config, variant)
