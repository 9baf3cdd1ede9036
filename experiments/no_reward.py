"""No reward at all on chains of four operations modulo 10 (rl_jax/methods/no_reward.py): a control.

Question: how much does a policy gain from sharpening alone?

Command: rl-jax train no_reward --workdir=runs/no_reward
Study: rl-jax study horizon --only=no_reward --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 90 s.
Expected: held_out/sampled_accuracy after 300,000 tokens: no_reward 0.027 ± 0.021; 12 seeds (results/horizon.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  return common.variant(common.policy_gradient("rl_jax.methods.no_reward"), variant)
