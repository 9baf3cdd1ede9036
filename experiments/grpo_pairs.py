"""GRPO on pairs of digits with a given sum (rl_jax/methods/grpo.py, rl_jax/tasks/pairs.py)."""

from rl_jax.experiments import a_grae


def get_config(variant: str = ""):
  config = a_grae.on_pairs("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.0, "aggregation": "token_mean", "dual_clip": 3.0})  # as in A-GRAE
  return config
