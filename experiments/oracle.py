"""Exact credit of steps on chains of four operations modulo 10 (rl_jax/methods/oracle.py): a control.

Question: how much could a method gain from exact step credit?

Command: rl-jax train oracle --workdir=runs/oracle
Study: rl-jax study horizon --only=oracle --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 127 s.
Expected: held_out/sampled_accuracy after 300,000 tokens: oracle 0.727 ± 0.142; 12 seeds (results/horizon.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  return common.variant(common.policy_gradient("rl_jax.methods.oracle"), variant)
