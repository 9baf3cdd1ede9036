"""PPO with a critic on chains of four operations modulo 10 (rl_jax/methods/ppo.py, arXiv 1707.06347).

Question: what does a critic learned during training gain over a group baseline?

Command: rl-jax train ppo --workdir=runs/ppo
Study: rl-jax study credit --only=ppo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 86 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: ppo 0.886 ± 0.012; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.ppo")
  config.method.critic_learning_rate = 1e-3
  return common.variant(config, variant)
