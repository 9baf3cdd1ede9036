"""DLER continued from the merge of its policy with the start (rl_jax/methods/dler_merge.py, arXiv 2510.15110).

Question: does merging a policy with its start regain accuracy?

Command: rl-jax train dler_merge --workdir=runs/dler_merge
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.dler_merge"))
  config.stages.dler = common.tuned("rl_jax.methods.dler")
  config.init_from = "dler"
  config.num_iterations = 20
  return common.variant(config, variant)
