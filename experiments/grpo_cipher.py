"""GRPO on words in cipher (rl_jax/methods/grpo.py, rl_jax/tasks/cipher.py): one number for a whole response."""

from rl_jax.experiments import scar


def get_config(variant: str = ""):
  return scar.on_cipher("rl_jax.methods.grpo", variant)
