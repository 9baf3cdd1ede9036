"""SIRI, in three cycles, on chains with long or short responses (rl_jax/methods/siri.py, arXiv 2509.25176).

Question: does a response limit that falls and rises give shorter responses at equal accuracy?

Command: rl-jax train siri --workdir=runs/siri
Study: rl-jax study siri --only=cosine --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 64 s.
Expected: held_out/response_length after 300,000 tokens: cosine 12.669 ± 0.920; 6 seeds (results/siri.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.verbose(common.policy_gradient("rl_jax.methods.siri"))
  config.num_iterations = 300
  config.method.cycle = 4 if variant == "smoke" else 100
  return common.variant(config, variant)
