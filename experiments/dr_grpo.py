"""Dr. GRPO on chains of four operations modulo 10 (rl_jax/methods/dr_grpo.py, arXiv 2503.20783).

Question: what does leaving out GRPO's two divisions change?

Command: rl-jax train dr_grpo --workdir=runs/dr_grpo
Study: rl-jax study credit --only=dr_grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 36 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: dr_grpo 0.887 ± 0.011; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.dr_grpo")
  return common.variant(config, variant)
