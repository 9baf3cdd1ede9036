"""Do unit tests weighted by their difficulty in the group teach what many easy tests drown out?

Eight near-duplicate easy checks and two hard ones (rl_jax/tasks/environments/duplicate_checks.py), in two attempts. The
start passes easy checks four times in five and a hard one once in seven, since a lure makes it repeat the digits of the
prompt: its likeliest attempt is wrong, and `no_reward`, which only grows surer, is the control. One episode in 36
passes all checks, so four of five groups of eight get no reward.

The paper claims that VeRPO passes more often than the outcome alone (GRPO, `grpo`; without division by the std,
`outcome`), than pass rates added to the outcome (`pass_rate`), which easy checks dominate, and than either of its parts
alone: `tests` has no outcome, `difficulty` does not divide by the number of tests of the same difficulty. It also
claims fewer degenerate groups than with the outcome. Groups in which all responses pass count too, so a method that
learns sooner has more of them later. The oracle is drawn but is not a gate: its credit is for attempts, while the gate
asks for accuracy.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study verpo --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 696 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 150,000 tokens: difficulty 0.980 ± 0.020, grpo 0.988 ± 0.006, no_reward 0.000
  ± 0.000, oracle 0.972 ± 0.039, outcome 0.983 ± 0.023, pass_rate 0.991 ± 0.013, tests 0.992 ± 0.010, verpo 0.976 ±
  0.036; 6 seeds (results/verpo.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 150_000
"""About 120 iterations."""
DEGENERATE = "degenerate_rows"


def get_config() -> ConfigDict:
  """GRPO and the outcome alone, pass rates, VeRPO and two of its parts, true credit, and no reward."""
  of_method = {
    "outcome": ("method.beta=0.0",),
    "pass_rate": ("method.weights=pass_rate",),
    "difficulty": ("method.weights=difficulty",),
    "tests": ("method.full_pass_reward=0.0",),
    "verpo": (),
  }
  updates = lambda left, right: above(left, right, ACCURACY, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_checks", "overrides": ()},
      **{name: {"config": "verpo", "overrides": overrides} for name, overrides in of_method.items()},
      **{
        name: {"config": "grpo_checks", "overrides": (f"method.name=rl_jax.methods.{name}",)}
        for name in ("oracle", "no_reward")
      },
    },
    overrides=("minibatches_per_epoch=4",),
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH, DEGENERATE, "pass_rate"),
    gates={"no_reward": "no_reward"},
    claims={
      "VeRPO is more accurate than GRPO over equal updates": updates("verpo", "grpo"),
      "it is more accurate than the outcome alone": updates("verpo", "outcome"),
      "it is more accurate than with pass rates": updates("verpo", "pass_rate"),
      "it is more accurate than with difficulties alone": updates("verpo", "difficulty"),
      "it is more accurate than without the outcome": updates("verpo", "tests"),
      "fewer of its groups are degenerate than of the outcome alone": below("verpo", "outcome", DEGENERATE, "updates"),
      "fewer of its groups are degenerate than with pass rates": below("verpo", "pass_rate", DEGENERATE, "updates"),
    },
  )
