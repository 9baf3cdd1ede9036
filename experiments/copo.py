"""COPO on chains of four operations modulo 10, six responses to a prompt (rl_jax/methods/copo.py, arXiv 2508.04138).

Question: does a global advantage help if most groups are all right or all wrong?

Command: rl-jax train copo --workdir=runs/copo
Study: rl-jax study copo --only=copo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 70 s.
Expected: held_out/sampled_accuracy after 300,000 tokens: copo 0.443 ± 0.387; 6 seeds (results/copo.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.copo")
  config.completions_per_prompt = 6
  return common.variant(config, variant)
