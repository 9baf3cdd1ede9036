"""MT-GRPO in two rooms, with a reward for each key (rl_jax/methods/mt_grpo.py, arXiv 2505.11821).

Question: do turn rewards, normalised in the group, teach a policy to fetch a key first, and is there a visible bias
against further turns?

method.absent=skip has the bias. The variants are those of experiments/grpo_rooms.py.

Command: rl-jax train mt_grpo --workdir=runs/mt_grpo
Expected: no result yet.
"""

from rl_jax.experiments import grpo_rooms


def get_config(variant: str = ""):
  config = grpo_rooms.in_rooms("rl_jax.methods.mt_grpo", variant)
  config.task.key_reward = 0.25
  return config
