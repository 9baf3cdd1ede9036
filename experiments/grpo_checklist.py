"""GRPO on checklists of items that depend on one another (rl_jax/methods/grpo.py,
rl_jax/tasks/environments/checklist.py).

Question: how far does one number per episode, divided by its std in the group, average out a judge's errors?

Command: rl-jax train grpo_checklist --workdir=runs/grpo_checklist
Study: rl-jax study cm2 --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 140 s.
Expected: held_out/sampled_accuracy after 80,000 tokens: grpo 0.546 ± 0.100; 6 seeds (results/cm2.json).
"""

from rl_jax.experiments import cm2


def get_config(variant: str = ""):
  config = cm2.on_checklists("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.001, "aggregation": "token_mean"})  # as in CM2
  return config
