"""The fixed iteration of `python -m rl_jax.benchmark iteration`: 1.06M parameters, 32 x 8 rows, 16 + 32 tokens.

Question: how long does one GRPO iteration take, compared with the roofline?

Command: rl-jax train benchmark --workdir=runs/benchmark
Expected: rl-jax benchmark iteration prints it for this machine.
"""

from rl_jax.experiments import common


def get_config(variant: str = ""):
  config = common.base()
  config.method = {"name": "rl_jax.methods.grpo", "kl_coefficient": 0.0}
  config.task = {"name": "rl_jax.tasks.fixed_length"}
  config.model.update({"width": 128, "layers": 4, "heads": 4, "key_value_heads": 4})
  config.model.update({"head_width": 32, "feed_forward": 512})
  config.num_seeds = 1
  config.logging.every_iterations = 1
  return common.variant(config, variant)
