"""DUMP on six difficulty levels: chains of two to eight operations (rl_jax/methods/dump.py, arXiv 2504.09710).

Question: does a bandit over difficulty levels beat drawing them uniformly?

Command: rl-jax train dump --workdir=runs/dump
Study: rl-jax study curriculum --only=dump --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 55 s.
Expected: held_out/sampled_accuracy after 160,000 tokens: dump 0.425 ± 0.031; 5 seeds (results/curriculum.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dump")
  names = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8}
  config.task.levels = {name: {"operations": n, "operators": "+-*", "modulus": 10} for name, n in names.items()}
  return common.variant(config, variant)
