"""GRPO on words in cipher (rl_jax/methods/grpo.py, rl_jax/tasks/cipher.py): one number for a whole response.

Question: how fast is a partly additive outcome learned without credit for its parts?

Command: rl-jax train grpo_cipher --workdir=runs/grpo_cipher
Expected: no result yet.
"""

from rl_jax.experiments import scar


def get_config(variant: str = ""):
  return scar.on_cipher("rl_jax.methods.grpo", variant)
