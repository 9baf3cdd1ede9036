"""Does a shaped advantage make tool calls earlier at no cost, while the same shaping as a reward costs accuracy?

Sums with a tool that earns as much late as early (rl_jax/tasks/calls.py). In the start, thinking times before the call
are uniformly distributed, and a lure makes most answers wrong. Each token before the call belongs to the response, so
an earlier call shortens the response; the runs record the training metric `first_call`. The paper claims earlier calls
at equal accuracy for ASPO, and that the reward (eq. 1) is unstable. `no_reward` is the control: sharpening must not be
enough. There is no oracle.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study aspo --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 1,360 s in all, tuning not counted.
Expected: held_out/response_length after 200,000 tokens: grpo 9.192 ± 2.927, aspo 4.008 ± 0.035; 6 seeds
  (results/aspo.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, LENGTH, above, below

BUDGET = 200_000


def get_config() -> ConfigDict:
  """GRPO, both settings of ASPO, the reward in its place, and no reward."""
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_calls", "overrides": ()},
      "aspo": {"config": "aspo", "overrides": ()},
      "aggressive": {"config": "aspo", "overrides": ("method.delta=-2.5", "method.strength=0.9")},
      "reward": {"config": "aspo", "overrides": ("method.shaping=reward",)},
      "no_reward": {"config": "grpo_calls", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    overrides=(
      "task.error_rate=0.1",
      "task.lure_rate=0.6",
      "minibatches_per_epoch=4",
    ),
    **common.SMALL,
    baseline="grpo",
    gates={"no_reward": "no_reward"},
    claims={
      "ASPO's responses are shorter than GRPO's at equal accuracy": below("aspo", "grpo", LENGTH, "accuracy"),
      "the aggressive setting's are shorter still": below("aggressive", "aspo", LENGTH, "accuracy"),
      "ASPO is more accurate over equal updates than the reward": above("aspo", "reward", ACCURACY, "updates"),
    },
  )
