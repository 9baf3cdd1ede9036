"""Pass@4 training on chains of four operations modulo 10 (rl_jax/methods/passk.py, arXiv 2503.19595).

Question: does training for the best of k answers keep pass@k high?

The estimator for k below the group size is that of arXiv 2505.15201.

Command: rl-jax train pass_at_k --workdir=runs/pass_at_k
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.passk")
  config.method.k = 4
  return common.variant(config, variant)
