"""SPO-chain on chains of four operations modulo 10 (rl_jax/methods/spo_chain.py, arXiv 2505.23564).

Question: are segment values from extra completions worth their tokens?

Command: rl-jax train spo_chain --workdir=runs/spo_chain
Study: rl-jax study credit --only=spo_chain --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 63 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: spo_chain 0.573 ± 0.015; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.spo_chain")
  # Answers have 11 tokens, four or five of them uncertain: the paper's interval of 5 would hardly split them.
  config.method.interval = 1
  config.method.max_segments = 4
  config.method.completions_per_cut = 4
  return common.variant(config, variant)
