"""RLOO on chains of four operations modulo 10 (rl_jax/methods/rloo.py, arXiv 2402.14740).

Question: does a leave-one-out baseline match GRPO?

Command: rl-jax train rloo --workdir=runs/rloo
Study: rl-jax study credit --only=rloo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 39 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: rloo 0.890 ± 0.007; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.rloo")
  return common.variant(config, variant)
