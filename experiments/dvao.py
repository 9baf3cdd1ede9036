"""DVAO on chains of four operations modulo 10, with a length that is easily met as its second objective
(rl_jax/methods/dvao.py, rl_jax/tasks/chain.py, arXiv 2605.25604).

Question: do weights by the spread of each reward make answers more accurate?

The length is that of a response that writes each step once, 11 tokens. The warm start's lengths vary around it.

Command: rl-jax train dvao --workdir=runs/dvao
Study: rl-jax study dvao --only=dvao --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 16 s.
Expected: held_out/sampled_accuracy after 150,000 tokens: dvao 0.587 ± 0.383; 6 seeds (results/dvao.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common


def on_two_objectives(method: str, variant: str) -> ConfigDict:
  """A method on the task; the reward by itself is only for the answer."""
  config = common.policy_gradient(method)
  config = common.variant(config, variant)
  (level,) = config.task.levels.values()
  width = 1 if level.modulus <= 10 else 2
  config.task.length_objective = level.operations * (1 + width) + width + 2
  return config


def get_config(variant: str = ""):
  return on_two_objectives("rl_jax.methods.dvao", variant)
