"""Does dense credit pay where success is rare and the likeliest response is wrong?

Chains of eight operations whose demonstrations lure the policy into a wrong step: a start near 0.05, sampled and
greedy, at a guessing floor of 0.10 (see rl_jax/tasks/chain.py). Two controls bound what a method can do: `oracle`, the
true values of steps as advantages, and `no_reward`. Claims are judged only if the gates hold (rl_jax/runs/gates.py).
Every method is tuned alike: its learning rate, over the same grid, on seeds of its own. Two warm starts x three seeds.
"""

from typing import Any

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

RATES = (5e-5, 1e-4, 2e-4, 4e-4)
"""Around what studies/settings.py found for GRPO (1e-4) and the oracle (2e-4)."""
OFTEN = ("logging.every_iterations=2", "evaluation.every_iterations=2")
"""Methods that spend the budget in few iterations are measured in each second one."""

ENTRIES: dict[str, dict[str, Any]] = {
  "grpo": {"config": "grpo:deceptive"},
  "oracle": {"config": "oracle:deceptive"},
  "no_reward": {"config": "no_reward:deceptive"},
  "rloo": {"config": "rloo:deceptive"},
  # The process model at twice the policy's rate, as the authors train it. Their filter of .2 to .8 would leave a start
  # of 0.05 next to no groups of eight: those with one right answer are kept too.
  "prime": {
    "config": "prime:deceptive",
    "overrides": ("method.prm_learning_rate=4e-4", "method.lowest_accuracy=0.1", "method.highest_accuracy=0.9"),
  },
  # The authors' two passes over an iteration's rows.
  "spo_chain": {
    "config": "spo_chain:deceptive",
    "overrides": ("method.interval=2", "method.max_segments=None", "epochs=2", *OFTEN),
  },
  "spae": {"config": "spae:deceptive", "overrides": ("method.max_steps=10", *OFTEN)},
}


def get_config() -> ConfigDict:
  """Seven entries, 300,000 tokens for each seed."""
  return common.study(
    token_budget=300_000,
    entries={name: {"overrides": ()} | entry for name, entry in ENTRIES.items()},
    overrides=("num_seeds=6", "stages.warm_start.num_seeds=2", "evaluation.prompts=256"),
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH),
    gates={"oracle": "oracle", "no_reward": "no_reward"},
    learning_rates=RATES,
    tuning_budget=150_000,
    claims={
      "dense credit is more accurate than GRPO: PRIME": above("prime", "grpo"),
      "dense credit is more accurate than GRPO: SPO-chain": above("spo_chain", "grpo"),
      "dense credit is more accurate than GRPO: SPAE": above("spae", "grpo"),
    },
    note="Provisional: one horizon, one size, two warm starts.",
  )
