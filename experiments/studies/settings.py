"""Which learning rate and how many optimiser steps suit GRPO and true credit on deceptive chains?

Run before methods are compared: the grid of studies/horizon.py is centred on the best settings found here. One and four
optimiser steps per iteration, rates from 5e-5 to 6e-4, in parallel; the gates are measured at the best of them.

Command: python -m rl_jax.study settings --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 375 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 180,000 tokens: grpo_4 0.416 ± 0.177, oracle_4 0.591 ± 0.142; 6 seeds
  (results/settings.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH

STEPS = (1, 4)
CONTROLS = ("grpo", "oracle", "no_reward")


def get_config() -> ConfigDict:
  """Three entries at each number of steps, 180,000 tokens for each seed."""
  return common.study(
    token_budget=180_000,
    entries={
      f"{name}_{steps}": {
        "config": f"{name}:deceptive",
        "overrides": (f"minibatches_per_epoch={steps}",),
      }
      for steps in STEPS
      for name in CONTROLS
    },
    overrides=("num_seeds=6", "stages.warm_start.num_seeds=2"),
    baseline="grpo_4",
    metrics=(ACCURACY, GREEDY, LENGTH),
    gates={"oracle": "oracle_4", "no_reward": "no_reward_4"},
    learning_rates=(5e-5, 1e-4, 2e-4, 3e-4, 6e-4),
    tuning_budget=90_000,
    claims={},
  )
