"""V0.5 on chains of four operations modulo 10, with four first responses to a prompt (rl_jax/methods/v05.py,
arXiv 2603.10848).

Question: is a prior worth more than further responses?

Command: rl-jax train v05 --workdir=runs/v05
Study: rl-jax study v05 --only=regression --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 115 s.
Expected: held_out/sampled_accuracy after 300,000 tokens: regression 0.789 ± 0.207; 6 seeds (results/v05.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.variant(common.policy_gradient("rl_jax.methods.v05"), variant)
  config.completions_per_prompt = 4
  if variant == "smoke":
    config.method.rounds = 2  # each is compiled
  return config
