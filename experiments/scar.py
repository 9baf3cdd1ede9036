"""SCAR on words in cipher, whose reward is partly additive (rl_jax/methods/scar.py, rl_jax/tasks/cipher.py,
arXiv 2505.20417).

Question: is a partly additive reward learned faster from Shapley credit of spans than from the outcome?

At the start, seven symbols in ten are right. Responses are short, so lambda is lower than for hundreds of tokens: near
1, the advantage of a symbol includes the luck of all later ones. The variants "easy" and "hard" have words of four and
of eight letters, "smoke" of three, over an alphabet of three.

Command: rl-jax train scar --workdir=runs/scar
Study: rl-jax study scar --only=scar --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 31 s.
Expected: held_out/sampled_accuracy after 40,000 tokens: scar 0.983 ± 0.019; 6 seeds (results/scar.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

LEVELS = {"easy": {"letters": 4}, "hard": {"letters": 8}}
"""Easiest and hardest setting of the task."""


def on_cipher(method: str, variant: str) -> ConfigDict:
  """A method on the task, from a warm start on demonstrations with errors."""
  config = common.policy_gradient(method)
  config.task = {"name": "rl_jax.tasks.cipher", "levels": {"six": {"letters": 6}}}
  config.prompts_per_iteration = 8
  config.num_iterations = 150
  config.learning_rate = 2e-4
  config.stages.warm_start.update({"num_iterations": 400, "prompts_per_iteration": 128})
  if variant in LEVELS:
    config.task.levels = {variant: LEVELS[variant]}
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.levels = {"three": {"letters": 3}}
    config.task.alphabet = 3
  return config


def get_config(variant: str = ""):
  config = on_cipher("rl_jax.methods.scar", variant)
  config.method.update({"lam": 0.5, "critic_learning_rate": 1e-3})
  config.method.max_spans = max(level.get("letters", 8) for level in config.task.levels.values())
  return config
