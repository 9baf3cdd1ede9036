"""REINFORCE++ on chains of four operations modulo 10 (rl_jax/methods/reinforce_pp.py, arXiv 2501.03262).

Question: do returns normalised over the batch match GRPO's normalised over the group?

Command: rl-jax train reinforce_pp --workdir=runs/reinforce_pp
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.reinforce_pp")
  return common.variant(config, variant)
