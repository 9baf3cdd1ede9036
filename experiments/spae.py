"""SPAE on chains of four operations modulo 10 (rl_jax/methods/spae.py, arXiv 2601.03823).

Question: do potentials from forced answers help?

Command: rl-jax train spae --workdir=runs/spae
Study: rl-jax study credit --only=spae --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 88 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: spae 0.716 ± 0.010; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.spae")
  config.method.max_steps = 6  # four operations and re-checks
  config.method.probe_samples = 2
  config.method.probe_tokens = 3  # an answer is one digit and the end
  if variant == "hard":
    config.method.max_steps, config.method.probe_tokens = 18, 4
  return common.variant(config, variant)
