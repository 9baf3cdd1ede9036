"""GiGPO in two rooms, with a door between start and goal (rl_jax/methods/gigpo.py, arXiv 2505.10978).

Question: do comparisons of turns that begin in the same state suffice to find the step that led to the key?

The variants are those of experiments/grpo_rooms.py, which is GRPO on the same task.

Command: rl-jax train gigpo --workdir=runs/gigpo
Expected: no result yet.
"""

from rl_jax.experiments import grpo_rooms


def get_config(variant: str = ""):
  return grpo_rooms.in_rooms("rl_jax.methods.gigpo", variant)
