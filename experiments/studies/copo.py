"""Does a global advantage between prompts help if most groups are all right or all wrong?

Deceptive chains of eight operations in groups of six responses: success is rare, so most groups have no gradient under
GRPO (rl_jax/tasks/chain.py). The paper claims higher accuracy than GRPO at equal steps; in its ablation the global loss
alone is nearly as good as the blend, which the table shows. The training metric `no_gradient` is the share of responses
that teach nothing. `no_reward` is the control; `oracle`, exact credit of steps, is drawn too but is not a gate, as the
claims are not about credit.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study copo --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 482 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 300,000 tokens: grpo 0.487 ± 0.437, copo 0.443 ± 0.387; 6 seeds
  (results/copo.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 300_000
UNINFORMATIVE = "no_gradient"
BLENDS = {"no_global": "no global", "only_global": "only global"}


def get_config() -> ConfigDict:
  """GRPO, COPO with its ablations, and two controls."""
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo:deceptive", "overrides": ()},
      "copo": {"config": "copo:deceptive", "overrides": ()},
      **{name: {"config": "copo:deceptive", "overrides": (f"method.blend={blend}",)} for name, blend in BLENDS.items()},
      "oracle": {"config": "oracle:deceptive", "overrides": ()},
      "no_reward": {"config": "no_reward:deceptive", "overrides": ()},
    },
    overrides=("completions_per_prompt=6",),
    **common.SMALL,
    metrics=(ACCURACY, GREEDY, LENGTH, UNINFORMATIVE),
    baseline="grpo",
    gates={"no_reward": "no_reward"},
    claims={
      "COPO is more accurate than GRPO over equal updates": above("copo", "grpo", ACCURACY, "updates"),
      "the blend is more accurate than the local loss alone over equal updates": above(
        "copo", "no_global", ACCURACY, "updates"
      ),
      "fewer responses of COPO teach nothing than of the local loss alone": below(
        "copo", "no_global", UNINFORMATIVE, "updates"
      ),
      "per token: COPO is more accurate than GRPO": above("copo", "grpo", ACCURACY, "tokens"),
    },
  )
