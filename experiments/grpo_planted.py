"""GRPO on a planted sequence (rl_jax/methods/grpo.py, rl_jax/tasks/planted.py): the outcome alone.

Question: can a policy learn from an outcome that one response in a thousand earns?

Command: rl-jax train grpo_planted --workdir=runs/grpo_planted
Expected: no result yet.
"""

from rl_jax.experiments import pav


def get_config(variant: str = ""):
  config = pav.on_planted("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.001, "aggregation": "token_mean"})  # as in PAV
  return config
