"""HiPER in two rooms, with a door between start and goal (rl_jax/methods/hiper.py,
rl_jax/tasks/environments/rooms.py, arXiv 2602.16165).

Question: does credit for sub-goals teach a policy to fetch a key first?

A turn names a cell as its sub-goal before the step. The start errs in one plan of five, and half of its steps are
random. With method.name=rl_jax.methods.ppo the policy has the same turns and flat advantages. The variants are those of
experiments/grpo_rooms.py.

Command: rl-jax train hiper --workdir=runs/hiper
Study: rl-jax study hiper --only=hiper --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 188 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: hiper 0.582 ± 0.176; 6 seeds (results/hiper.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import grpo_rooms


def with_plans(method: str, variant: str) -> ConfigDict:
  """A method in the rooms, in turns with plans."""
  config = grpo_rooms.in_rooms(method, variant)
  config.task.plans = True
  return config


def get_config(variant: str = ""):
  return with_plans("rl_jax.methods.hiper", variant)
