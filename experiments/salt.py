"""SALT in two rooms, with a door between start and goal (rl_jax/methods/salt.py, rl_jax/tasks/environments/rooms.py,
arXiv 2510.20022).

Question: does averaging over the episodes that share a step separate the steps that matter from the others?

Episodes of a prompt go through the same cells, so many steps are shared. The variants are those of
experiments/grpo_rooms.py, which is GRPO on the same task.

Command: rl-jax train salt --workdir=runs/salt
Study: rl-jax study salt --only=salt --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 162 s.
Expected: held_out/sampled_accuracy after 160,000 tokens: salt 0.763 ± 0.128; 6 seeds (results/salt.json).
"""

from rl_jax.experiments import grpo_rooms


def get_config(variant: str = ""):
  return grpo_rooms.in_rooms("rl_jax.methods.salt", variant)
