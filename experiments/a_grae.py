"""A-GRAE on pairs of digits with a given sum (rl_jax/methods/a_grae.py, rl_jax/tasks/pairs.py, arXiv 2602.05548).

Question: do asymmetric advantages keep rare right answers alive?

A prompt has five right answers; demonstrations rarely show two of them. The variants "easy" and "hard" have two and
five operands, "smoke" has digits below 4.

Command: rl-jax train a_grae --workdir=runs/a_grae
Study: rl-jax study a_grae --only=a_grae --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 67 s.
Expected: held_out/sampled_accuracy after 200,000 tokens: a_grae 0.851 ± 0.035; 6 seeds (results/a_grae.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"operands": 2}, "hard": {"operands": 5}}
"""Easiest and hardest setting of the task."""


def on_pairs(method: str, variant: str) -> ConfigDict:
  """A method on the task, from a warm start that rarely writes high first digits."""
  config = common.policy_gradient(method)
  config.task = {
    "name": "rl_jax.tasks.pairs",
    "levels": {"three": {"operands": 3}},
    "modulus": 4 if variant == "smoke" else 5,
    "skew": 0.5,
  }
  config.evaluation.samples_per_prompt = 16
  config.evaluation.pass_at = (4, 16)
  if variant in LEVELS:
    config.task.levels = {variant: LEVELS[variant]}
    return config
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return on_pairs("rl_jax.methods.a_grae", variant)
