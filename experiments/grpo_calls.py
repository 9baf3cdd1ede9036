"""GRPO on sums with a tool that may be called early or late (rl_jax/methods/grpo.py, rl_jax/tasks/calls.py).

Question: when does GRPO call the tool, if no reward asks for it early?

Command: rl-jax train grpo_calls --workdir=runs/grpo_calls
Study: rl-jax study aspo --only=grpo --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 79 s.
Expected: held_out/response_length after 200,000 tokens: grpo 9.192 ± 2.927; 6 seeds (results/aspo.json).
"""

from rl_jax.experiments import aspo


def get_config(variant: str = ""):
  config = aspo.on_calls("rl_jax.methods.grpo", variant)
  own = {"kl_coefficient": 0.0, "aggregation": "token_mean", "clip_low": 0.2, "clip_high": 0.28}  # as in ASPO
  config.method.update(own)
  return config
