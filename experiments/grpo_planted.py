"""GRPO on a planted sequence (rl_jax/methods/grpo.py, rl_jax/tasks/planted.py): the outcome alone."""

from rl_jax.experiments import pav


def get_config(variant: str = ""):
  config = pav.on_planted("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.001, "aggregation": "token_mean"})  # as in PAV
  return config
