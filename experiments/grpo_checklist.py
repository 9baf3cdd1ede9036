"""GRPO on checklists of items that depend on one another (rl_jax/methods/grpo.py,
rl_jax/tasks/environments/checklist.py).

Question: how far does one number per episode, divided by its std in the group, average out a judge's errors?

Command: rl-jax train grpo_checklist --workdir=runs/grpo_checklist
Expected: no result yet.
"""

from rl_jax.experiments import cm2


def get_config(variant: str = ""):
  config = cm2.on_checklists("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.001, "aggregation": "token_mean"})  # as in CM2
  return config
