"""ADHint on chains that are almost never solved at the start (rl_jax/methods/adhint.py, arXiv 2512.13095).

Question: do hints make a task learnable whose reward is too rare for GRPO?

Chains of six subtractions. The demonstrations get each of them wrong by one in eight cases of ten: one response in
twenty thousand has no wrong step. The solutions that hints come from are right.

Command: rl-jax train adhint --workdir=runs/adhint
Study: rl-jax study adhint --only=adhint --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 48 s.
Expected: held_out/sampled_accuracy after 150,000 tokens: adhint 0.821 ± 0.111; 6 seeds (results/adhint.json).
"""

from rl_jax.experiments import common

SUBTRACTIONS = {"six": {"operations": 6, "operators": "-", "modulus": 10}}


def get_config(variant: str = ""):
  config = common.variant(common.policy_gradient("rl_jax.methods.adhint"), variant or "deceptive")
  if variant == "":
    config.task.levels, config.task.lure_rate = SUBTRACTIONS, 0.8
  config.completions_per_prompt = 4
  return config
