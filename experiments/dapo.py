"""DAPO on chains of four operations modulo 10 (rl_jax/methods/dapo.py, arXiv 2503.14476).

Question: what is gained by dynamic sampling and a wider upper clip from a start that is right half of the time?

Command: rl-jax train dapo --workdir=runs/dapo
Study: rl-jax study credit --only=dapo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 25 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: dapo 0.783 ± 0.011; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dapo")
  return common.variant(config, variant)
