"""GRPO on a planted sequence (rl_jax/methods/grpo.py, rl_jax/tasks/planted.py): the outcome alone.

Question: can a policy learn from an outcome that one response in a thousand earns?

Command: rl-jax train grpo_planted --workdir=runs/grpo_planted
Study: rl-jax study pav --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 13 s.
Expected: held_out/sampled_accuracy after 60,000 tokens: grpo 0.003 ± 0.007; 6 seeds (results/pav.json).
"""

from rl_jax.experiments import pav


def get_config(variant: str = ""):
  config = pav.on_planted("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.001, "aggregation": "token_mean"})  # as in PAV
  return config
