"""ADHint on chains that are nearly never solved at the start (rl_jax/methods/adhint.py, arXiv 2512.13095).

Question: do hints open a task whose reward is too rare for GRPO?

Six subtractions, each of which the demonstrations get wrong by one in eight of ten cases: one response in twenty
thousand is right. The solutions that hints come from are right.

Command: rl-jax train adhint --workdir=runs/adhint
Expected: no result yet.
"""

from rl_jax.experiments import common

SUBTRACTIONS = {"six": {"operations": 6, "operators": "-", "modulus": 10}}


def get_config(variant: str = ""):
  config = common.variant(common.policy_gradient("rl_jax.methods.adhint"), variant or "deceptive")
  if variant == "":
    config.task.levels, config.task.lure_rate = SUBTRACTIONS, 0.8
  config.completions_per_prompt = 4
  return config
