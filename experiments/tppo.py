"""T-PPO on chains of four operations modulo 10 (rl_jax/methods/tppo.py, arXiv 2506.15050).

Question: what does training on unfinished responses cost?

Command: rl-jax train tppo --workdir=runs/tppo
Study: rl-jax study credit --only=tppo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 164 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: tppo 0.378 ± 0.182; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.tppo")
  config.method.critic_init_from = "critic#critic"  # only the critic can tell what a cut answer is worth
  config.method.critic_learning_rate = 6e-4
  config.method.staggered = True
  return common.variant(config, variant)
