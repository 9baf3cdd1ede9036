"""ASPO on sums with a tool that may be called early or late (rl_jax/methods/aspo.py, rl_jax/tasks/calls.py,
arXiv 2508.19201).

Question: does a shaped advantage make tool calls earlier at no cost in accuracy?

In the warm start, thinking times before the call are uniformly distributed. The variants "easy" and "hard" have two and
nine operands, "smoke" adds modulo 3.

Command: rl-jax train aspo --workdir=runs/aspo
Study: rl-jax study aspo --only=aspo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 998 s.
Expected: held_out/response_length after 200,000 tokens: aspo 4.008 ± 0.035; 6 seeds (results/aspo.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"operands": 2}, "hard": {"operands": 9}}
"""Easiest and hardest setting of the task."""


def on_calls(method: str, variant: str) -> ConfigDict:
  """A method on the task, from a warm start that is often right."""
  config = common.policy_gradient(method)
  config.task = {
    "name": "rl_jax.tasks.calls",
    "levels": {"three": {"operands": 3}},
    "modulus": 3 if variant == "smoke" else 5,
  }
  if variant in LEVELS:
    config.task.levels = {variant: LEVELS[variant]}
    return config
  return common.variant(config, variant)


def get_config(variant: str = ""):
  return on_calls("rl_jax.methods.aspo", variant)
