"""SPO-tree on chains of four operations modulo 10 (rl_jax/methods/spo_tree.py, arXiv 2505.23564).

Question: are trees, with training on all their nodes, worth their tokens?

Command: rl-jax train spo_tree --workdir=runs/spo_tree
Study: rl-jax study credit --only=spo_tree --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 53 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: spo_tree 0.745 ± 0.021; 5 seeds (results/credit.json).
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.policy_gradient("rl_jax.methods.spo_tree")
  config.method.branching = (3, 3, 3)  # 39 edges of each prompt
  config.method.segment_tokens = 4  # two steps
  return common.variant(config, variant)
