"""ADORA on chains whose responses may be long or short (rl_jax/methods/adora.py, arXiv 2602.10019).

Question: does a weight per prompt lengthen right responses?

Command: rl-jax train adora --workdir=runs/adora
Study: rl-jax study adora --only=damped --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 35 s.
Expected: held_out/correct_response_length after 200,000 tokens: damped 17.175 ± 1.577; 6 seeds (results/adora.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.adora"))
  return common.variant(config, variant)
