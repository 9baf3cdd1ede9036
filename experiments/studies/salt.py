"""Does a policy learn faster from advantages of the trajectory graph than from one number per episode?

Two rooms of four cells with a key and a door (rl_jax/tasks/environments/rooms.py), at most eight steps; the only reward
is at the goal. The start takes random steps and arrives once in fourteen times, so growing surer does not help, as
`no_reward` shows. Other episodes of the same prompt take nearly all steps of an episode too. The paper claims more
success than GRPO, most on hard tasks. `history` merges steps only if the steps before them are equal too, which is less
frequent. `wide` has rooms of six cells and at most eleven steps, where episodes share fewer steps: the gain should be
smaller there, which no claim compares.

The oracle has exact advantages of steps. It is a gate: if it did not learn faster, no credit of steps could. If nothing
repeats, SALT and GRPO are bit-identical, which is tested (tests/methods/test_salt.py) and is not an entry.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study salt --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 874 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 160,000 tokens: grpo 0.819 ± 0.060, no_reward 0.000 ± 0.000, oracle 0.867 ±
  0.054, salt 0.763 ± 0.128, salt_history 0.450 ± 0.132; 6 seeds (results/salt.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 160_000
"""About 160 iterations of 64 episodes."""
WIDE = ("task.width=3",)


def get_config() -> ConfigDict:
  """GRPO, SALT in two forms, both in wider rooms, exact advantages, and no reward."""
  updates = lambda left, right: above(left, right, ACCURACY, "updates")
  in_rooms = lambda method, *overrides: {
    "config": "grpo_rooms", "overrides": (f"method.name=rl_jax.methods.{method}", *overrides)
  }  # fmt: skip
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_rooms", "overrides": ()},
      "salt": {"config": "salt", "overrides": ()},
      "salt_history": {"config": "salt", "overrides": ("method.history=1",)},
      "grpo_wide": {"config": "grpo_rooms", "overrides": WIDE},
      "salt_wide": {"config": "salt", "overrides": WIDE},
      "oracle": in_rooms("oracle", "method.aggregation=sequence_mean_token_mean", "method.kl_coefficient=0.04"),
      "no_reward": in_rooms("no_reward"),
    },
    overrides=(
      "task.stray_rate=1.0",
      "prompts_per_iteration=8",
      "minibatches_per_epoch=4",
      "stages.warm_start.num_iterations=200",
      "stages.warm_start.prompts_per_iteration=64",
      "evaluation.prompts=128",  # an episode is eight turns: the usual 512 would take longer than training
      "evaluation.every_iterations=16",
    ),
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH),
    gates={"oracle": "oracle", "no_reward": "no_reward"},
    claims={
      "SALT is more accurate than GRPO over equal updates": updates("salt", "grpo"),
      "in wider rooms it is more accurate than GRPO": updates("salt_wide", "grpo_wide"),
      "merging more steps is better: it is more accurate than with a history of one step": updates(
        "salt", "salt_history"
      ),
    },
  )
