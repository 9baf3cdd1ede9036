"""V0.5 on chains of four operations modulo 10, with four first responses to a prompt (rl_jax/methods/v05.py,
arXiv 2603.10848).

Question: is a prior worth more than further responses?

Command: rl-jax train v05 --workdir=runs/v05
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.variant(common.policy_gradient("rl_jax.methods.v05"), variant)
  config.completions_per_prompt = 4
  if variant == "smoke":
    config.method.rounds = 2  # each is compiled
  return config
