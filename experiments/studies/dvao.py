"""Do weights by the spread of each reward make answers more accurate, if a second reward is easily earned?

Deceptive chains of four operations, whose demonstrations write steps twice, with the second objective that a response
is no longer than necessary (rl_jax/tasks/chain.py). The paper claims more accurate answers than the sum of rewards
(RC), the sum of advantages (AC) and GDPO after equal steps, at equal weights, and responses that keep to the length at
least as often. `grpo` learns only from the answer. `no_reward` is the control; `oracle`, exact credit of steps, is
drawn too but is not a gate, as the claims are not about credit.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study dvao --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 215 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 150,000 tokens: rewards 0.614 ± 0.404, dvao 0.587 ± 0.383; 6 seeds
  (results/dvao.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 150_000
BASELINES = {"rewards": "RC", "advantages": "AC", "gdpo": "GDPO"}


def get_config() -> ConfigDict:
  """DVAO, three other combinations of the two rewards, GRPO, and two controls."""
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo:deceptive_4", "overrides": ()},
      "dvao": {"config": "dvao:deceptive_4", "overrides": ()},
      **{name: {"config": "dvao:deceptive_4", "overrides": (f"method.combination={name}",)} for name in BASELINES},
      "oracle": {"config": "oracle:deceptive_4", "overrides": ()},
      "no_reward": {"config": "no_reward:deceptive_4", "overrides": ()},
    },
    overrides=("task.recheck_rate=0.3",),
    **common.SMALL,
    metrics=(ACCURACY, GREEDY, LENGTH, "part/length"),
    baseline="rewards",
    gates={"no_reward": "no_reward"},
    claims={
      **{
        f"DVAO is more accurate than {title} over equal updates": above("dvao", name, ACCURACY, "updates")
        for name, title in BASELINES.items()
      },
      "DVAO keeps the length more often than the sum of rewards": above("dvao", "rewards", "part/length"),
      "DVAO's responses are shorter than those of GRPO at equal accuracy": below("dvao", "grpo", LENGTH, "accuracy")
      | common.OF_DIGITS,
    },
  )
