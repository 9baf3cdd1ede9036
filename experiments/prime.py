"""PRIME on chains of four operations modulo 10 (rl_jax/methods/prime.py, arXiv 2502.01456).

Question: does a reward model learned online from outcomes help?

Command: rl-jax train prime --workdir=runs/prime
Study: rl-jax study credit --only=prime --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 59 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: prime 0.737 ± 0.015; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.prime")
  return common.variant(config, variant)
