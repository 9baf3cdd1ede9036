"""How fast do methods sharpen a policy that is already right, for the same number of generated tokens?

Four operations modulo 10 (the standard comparison); sampled answers are right with probability 0.44. The greedy answers
of the start are all right, so training without any reward does as well as GRPO (rl_jax/methods/no_reward.py): the table
compares the cost of an optimiser update for each method, and says nothing about credit. For credit see
studies/horizon.py, whose gates this task does not pass, and studies/credit_rows.py. There is no tuning: every method
has the learning rate of experiments/common.py and the settings of its own experiment.

Command: python -m rl_jax.study experiments/studies/credit.py --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 647 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 120,000 tokens: grpo 0.886 ± 0.010, dapo 0.783 ± 0.011, prime 0.737 ± 0.015;
  5 seeds (results/credit.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, LENGTH, below

ENTRIES = {
  "grpo": "grpo",
  "dr_grpo": "dr_grpo",
  "rloo": "rloo",
  "ppo": "ppo",
  "dapo": "dapo",
  "prime": "prime",
  "spo_chain": "spo_chain",
  "spo_tree": "spo_tree",
  "spae": "spae",
  "tppo": "tppo",
}

OFTEN = ("logging.every_iterations=2", "evaluation.every_iterations=2")
"""Methods that spend the budget in few iterations are measured in every second one."""


def get_config() -> ConfigDict:
  """Ten methods, 120,000 tokens for each seed."""
  return common.study(
    token_budget=120_000,
    entries={
      name: {"config": file, "overrides": OFTEN if name in ("spo_chain", "spae") else ()}
      for name, file in ENTRIES.items()
    },
    baseline="grpo",
    metrics=(ACCURACY, LENGTH),
    claims={"spae: shorter responses than GRPO": below("spae", "grpo", LENGTH)},
    note="The start is already right: greedy accuracy 1.000 before the first update (iteration 0 of grpo.json, the "
    "same warm start). Training without any reward matches GRPO here, and accuracy follows the number of updates. The "
    "table compares costs per update, not credit.",
  )
