"""DLER on chains whose responses may be long or short (rl_jax/methods/dler.py, arXiv 2510.15110).

Question: does truncation cost less accuracy with advantages normalised over the batch?

Command: rl-jax train dler --workdir=runs/dler
Study: rl-jax study dler --only=dler --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 65 s.
Expected: held_out/sampled_accuracy after 200,000 tokens: dler 0.423 ± 0.136; 6 seeds (results/dler.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.dler"))
  return common.variant(config, variant)
