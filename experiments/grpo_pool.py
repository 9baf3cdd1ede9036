"""GRPO on a pool of chains that are seldom solved and often cut (rl_jax/methods/grpo.py).

Question: how far does GRPO get if most groups are all wrong?

Command: rl-jax train grpo_pool --workdir=runs/grpo_pool
Expected: no result yet.
"""

from rl_jax.experiments import r3


def get_config(variant: str = ""):
  config = r3.on_a_pool("rl_jax.methods.grpo", variant)
  config.method.kl_coefficient = 0.0
  return config
