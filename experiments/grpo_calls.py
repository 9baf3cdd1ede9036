"""GRPO on sums with a tool that may be called early or late (rl_jax/methods/grpo.py, rl_jax/tasks/calls.py)."""

from rl_jax.experiments import aspo


def get_config(variant: str = ""):
  config = aspo.on_calls("rl_jax.methods.grpo", variant)
  own = {"kl_coefficient": 0.0, "aggregation": "token_mean", "clip_low": 0.2, "clip_high": 0.28}  # as in ASPO
  config.method.update(own)
  return config
