"""Does progress under a prover find a target that a rare outcome does not?

The paper's didactic task (rl_jax/tasks/planted.py): a hidden sequence of five words, revealed only by a reward that one
response in a thousand earns at the start. The paper claims that the outcome alone stays near 0 while progress under a
prover of gamma 10 passes 0.9, and that provers that are too weak (2) or too strong (1000) help little. `to_go`, the
pitfall of summing over later steps, should do no better than the outcome alone. `outcome` is the method with alpha 0;
`verifier` has a trained model in place of exact values.

In the paper's demonstrations the likeliest words are those of the target, so a start that has learned them well only
needs to sharpen. Here a lure makes a wrong word likelier, and `no_reward` is the control. There are no gates: one
requires that the baseline learns, but the claim is that it does not. There is no oracle: the task does not provide
values of the policy.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

The prover that should be too strong is as good as the other. A response has ten positions, and the target takes five:
this prover is sure to succeed up to the last position where the target can begin, and cannot succeed after it. A wrong
word there costs it 0.93, a signal that longer responses would not have.

Command: python -m rl_jax.study pav --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 125 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 60,000 tokens: grpo 0.003 ± 0.007, outcome 0.000 ± 0.000, prover_10 0.989 ±
  0.004, prover_1000 0.991 ± 0.004, to_go 0.659 ± 0.510, verifier 0.990 ± 0.004; 6 seeds (results/pav.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 60_000
"""A hundred iterations: after more, the outcome alone may find the target by luck and then learn it fast."""
PROVERS = {"prover_2": 2, "prover_10": 10, "prover_1000": 1000}


def get_config() -> ConfigDict:
  """The outcome alone in two forms, three provers, the sum over later steps, a verifier, and no reward."""
  of_method = {
    "outcome": ("method.alpha=0.0",),
    **{name: (f"method.prover_gamma={gamma:.1f}",) for name, gamma in PROVERS.items()},
    "to_go": ("method.form=to_go",),
    "verifier": ("method.prover=verifier", "method.prover_init_from=verifier#verifier"),
  }
  updates = lambda left, right: above(left, right, ACCURACY, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_planted", "overrides": ()},
      **{name: {"config": "pav", "overrides": overrides} for name, overrides in of_method.items()},
      "no_reward": {"config": "grpo_planted", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    overrides=("task.lure=8.0", "minibatches_per_epoch=4"),
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH, "entropy"),
    gates={},
    claims={
      "progress under a prover of gamma 10 is more accurate than GRPO over equal updates": updates("prover_10", "grpo"),
      "it is more accurate than the outcome alone": updates("prover_10", "outcome"),
      "it is more accurate than with a prover that is too weak": updates("prover_10", "prover_2"),
      "it is more accurate than with a prover that is too strong": updates("prover_10", "prover_1000"),
      "it is more accurate than its sum over later steps": updates("prover_10", "to_go"),
      "progress under a trained verifier is more accurate than GRPO": updates("verifier", "grpo"),
    },
  )
