"""GRPO on pairs of digits with a given sum (rl_jax/methods/grpo.py, rl_jax/tasks/pairs.py).

Question: does GRPO keep several right answers alive?

Command: rl-jax train grpo_pairs --workdir=runs/grpo_pairs
Study: rl-jax study a_grae --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 90 s.
Expected: held_out/sampled_accuracy after 200,000 tokens: grpo 0.847 ± 0.083; 6 seeds (results/a_grae.json).
"""

from rl_jax.experiments import a_grae


def get_config(variant: str = ""):
  config = a_grae.on_pairs("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.0, "aggregation": "token_mean", "dual_clip": 3.0})  # as in A-GRAE
  return config
