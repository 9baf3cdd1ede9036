"""Does denser credit learn faster than one reward per answer, for the same number of generated tokens?

Four operations modulo 10 (the standard comparison), on which GRPO comes from 0.44 to about 0.85 within the budget, so
it is neither stuck nor finished; that was fixed before any method was compared. All generated tokens count, also those
of extra completions and probes. Tuning budget: none. Every method has the learning rate of experiments/common.py and
what its own experiment states; T-PPO's critic (learning rate, warm-up) was chosen on single runs of seed 0, as it does
not learn without.
"""

from ml_collections import ConfigDict

from experiments.studies import common
from experiments.studies.common import ACCURACY, LENGTH, above, below

ENTRIES = {
  "grpo": "experiments/grpo.py",
  "dr_grpo": "experiments/dr_grpo.py",
  "rloo": "experiments/rloo.py",
  "ppo": "experiments/ppo.py",
  "dapo": "experiments/dapo.py",
  "prime": "experiments/prime.py",
  "spo_chain": "experiments/spo_chain.py",
  "spo_tree": "experiments/spo_tree.py",
  "spae": "experiments/spae.py",
  "tppo": "experiments/tppo.py",
}

OFTEN = ("logging.every_iterations=2", "evaluation.every_iterations=2")
"""Methods that spend the budget in few iterations are measured in each second one."""


def get_config() -> ConfigDict:
  """Ten methods, 120,000 tokens for each seed."""
  return common.study(
    token_budget=120_000,
    entries={
      name: {"config": file, "overrides": OFTEN if name in ("spo_chain", "spae") else ()}
      for name, file in ENTRIES.items()
    },
    final_overrides=("evaluation.credit_prompts=8",),
    baseline="grpo",
    metrics=(ACCURACY, LENGTH, "credit/mse", "credit/rank_correlation", "credit/sign_agreement"),
    claims={
      "prime: higher accuracy than RLOO": above("prime", "rloo"),
      "spo: chain credit has a lower error than GRPO's": below("spo_chain", "grpo", "credit/mse"),
      "spo: chain reaches a higher accuracy than GRPO": above("spo_chain", "grpo"),
      "spo: tree reaches a higher accuracy than GRPO": above("spo_tree", "grpo"),
      "spae: shorter responses than GRPO": below("spae", "grpo", LENGTH),
      "tppo: as accurate as PPO (above would be more than the claim)": above("tppo", "ppo"),
    },
  )
