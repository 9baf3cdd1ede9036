"""To what should the reward of a checklist be assigned, if its judge errs?

Two rounds of three items that depend on one another (rl_jax/tasks/environments/checklist.py), one turn for each item. A
lure makes the start write the letters as they were asked, not in the order of the alphabet: its likeliest episode is
wrong, and `no_reward`, which only grows surer, is the control. Accuracy is the share of episodes that satisfy all
items, `exact_reward` the share of items in training, both by labels without errors.

The paper claims that fine assignment learns faster and breaks sooner, as it amplifies the errors of the judge: without
errors advantages of steps are at least as good as those of turns, and these as those of trajectories; with one label in
five wrong, those of trajectories end highest. It also claims that larger groups help advantages of trajectories where
an episode ends with the first round that is not satisfied, which errors of the judge bring about too: `strict_16` has
four prompts with 16 rows, `strict_4` 16 prompts with four. `grpo` divides by the std, as the others do not. There is
no oracle, as the task has no values.

Every entry has 64 rows and four optimiser steps per iteration and is tuned alike, over three learning rates from starts
of their own, on half of the budget.

Command: python -m rl_jax.study cm2 --results=experiments/results
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 80_000
"""A hundred iterations."""
LEVELS = ("trajectory", "turn", "step")
ERRS = "task.flip_rate=0.2"
EXACT = "exact_reward"


def get_config() -> ConfigDict:
  """Three assignments under a judge that does not err and one that does, two sizes of groups, GRPO, and no reward."""
  strict = ("task.strict=True", ERRS)
  of_method = {
    **{f"exact_{level}": (f"method.level={level}", "task.flip_rate=0.0") for level in LEVELS},
    **{level: (f"method.level={level}", ERRS) for level in LEVELS},
    "strict_4": (*strict, "prompts_per_iteration=16", "completions_per_prompt=4"),
    "strict_16": (*strict, "prompts_per_iteration=4", "completions_per_prompt=16"),
  }
  updates = lambda left, right: above(left, right, EXACT, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_checklist", "overrides": (ERRS,)},
      **{name: {"config": "cm2", "overrides": overrides} for name, overrides in of_method.items()},
      "no_reward": {"config": "grpo_checklist", "overrides": (ERRS, "method.name=rl_jax.methods.no_reward")},
    },
    overrides=(
      "prompts_per_iteration=8",
      "minibatches_per_epoch=4",
      "evaluation.every_iterations=16",  # as dear as several iterations
      "evaluation.prompts=256",
    ),
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH, EXACT, "advantage_size", "zero_advantage"),
    gates={"no_reward": "no_reward"},
    claims={
      "without errors, steps have a higher reward than turns over equal updates": updates("exact_step", "exact_turn"),
      "without errors, turns have than trajectories": updates("exact_turn", "exact_trajectory"),
      "without errors, steps have than trajectories": updates("exact_step", "exact_trajectory"),
      "with errors, steps have than trajectories": updates("step", "trajectory"),
      "with errors, trajectories end with a higher accuracy than steps": above("trajectory", "step"),
      "with errors, trajectories end with a higher accuracy than turns": above("trajectory", "turn"),
      "with errors and an early end, groups of 16 end with a higher accuracy than groups of 4": above(
        "strict_16", "strict_4"
      ),
    },
  )
