"""GRPO on lookups of three hops in a hidden table (rl_jax/methods/grpo.py, rl_jax/tasks/lookup.py)."""

from rl_jax.experiments import igpo


def get_config(variant: str = ""):
  config = igpo.on_lookup("rl_jax.methods.grpo", variant)
  config.method.kl_coefficient = 0.001  # as in IGPO
  return config
