"""GRPO on lookups of three hops in a hidden table (rl_jax/methods/grpo.py, rl_jax/tasks/lookup.py).

Question: does the outcome of an episode teach its turns?

Command: rl-jax train grpo_lookup --workdir=runs/grpo_lookup
Study: rl-jax study turns --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 72 s.
Expected: held_out/sampled_accuracy after 120,000 tokens: grpo 0.869 ± 0.010; 5 seeds (results/turns.json).
"""

from rl_jax.experiments import igpo


def get_config(variant: str = ""):
  config = igpo.on_lookup("rl_jax.methods.grpo", variant)
  config.method.kl_coefficient = 0.001  # as in IGPO
  return config
