"""GRPO on attempts tested by near-duplicate checks (rl_jax/methods/grpo.py,
rl_jax/tasks/environments/duplicate_checks.py).

Question: how fast does a policy learn to pass all checks, from a reward for passing all of them alone?

Command: rl-jax train grpo_checks --workdir=runs/grpo_checks
Expected: no result yet.
"""

from rl_jax.experiments import verpo


def get_config(variant: str = ""):
  config = verpo.on_checks("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.0, "aggregation": "token_mean"})  # as in VeRPO
  return config
