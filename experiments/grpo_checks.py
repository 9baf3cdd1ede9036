"""GRPO on attempts tested by near-duplicate checks (rl_jax/methods/grpo.py,
rl_jax/tasks/environments/duplicate_checks.py).

Question: how fast does a policy learn to pass all checks, from a reward for passing all of them alone?

Command: rl-jax train grpo_checks --workdir=runs/grpo_checks
Study: rl-jax study verpo --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 86 s.
Expected: held_out/sampled_accuracy after 150,000 tokens: grpo 0.988 ± 0.006; 6 seeds (results/verpo.json).
"""

from rl_jax.experiments import verpo


def get_config(variant: str = ""):
  config = verpo.on_checks("rl_jax.methods.grpo", variant)
  config.method.update({"kl_coefficient": 0.0, "aggregation": "token_mean"})  # as in VeRPO
  return config
