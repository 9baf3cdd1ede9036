"""CANON on chains whose responses may be long or short (rl_jax/methods/canon.py, arXiv 2509.23962).

Question: do advantages relative to half of a group shorten responses at equal accuracy?

Command: rl-jax train canon --workdir=runs/canon
Study: rl-jax study canon --only=alpha_90 --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 45 s.
Expected: held_out/response_length after 200,000 tokens: alpha_90 14.005 ± 1.002; 6 seeds (results/canon.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.canon"))
  return common.variant(config, variant)
