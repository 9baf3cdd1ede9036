"""GRPO on additions of three digits, written digit by digit with carries (rl_jax/methods/grpo.py,
rl_jax/tasks/addition.py).

Question: does GRPO learn carries from the final answer alone?

The variant "smoke" has one digit, and a longer warm start than others: nineteen sums are too many to be guessed.

Command: rl-jax train grpo_addition --workdir=runs/grpo_addition
Expected: no result yet.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.grpo")
  config.method.kl_coefficient = 0.0
  config.task = {"name": "rl_jax.tasks.addition", "levels": {"three": {"digits": 3}}}
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.levels = {"one": {"digits": 1}}
    config.stages.warm_start.num_iterations = 200
  return config
