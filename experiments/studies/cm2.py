"""Should the reward of a checklist be assigned to trajectories, turns or steps, if its judge errs?

Two rounds of three items that depend on one another (rl_jax/tasks/environments/checklist.py), one turn for each item. A
lure makes the start write the letters in the order of the prompt, not of the alphabet: its likeliest episode is wrong,
and `no_reward`, which only grows surer, is the control. Accuracy is the share of episodes that satisfy all items,
`exact_reward` the share of items satisfied in training; both use labels without errors.

The paper claims that finer assignment learns faster but is less robust, as it amplifies the judge's errors: without
errors, step advantages are at least as good as turn advantages, and these as trajectory advantages; with one label in
five wrong, trajectory advantages end highest. It also claims that larger groups help trajectory advantages if an
episode ends with its first unsatisfied round, which the judge's errors can cause too: `strict_16` has four prompts with
16 rows, `strict_4` 16 prompts with four. Only `grpo` divides by the std. There is no oracle, as the task has no values.

Every entry has 64 rows and four optimiser steps per iteration and is tuned in the same way: over three learning rates,
from separate starts, on half of the budget.

Command: python -m rl_jax.study cm2 --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 1,254 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 80,000 tokens: exact_step 0.253 ± 0.033, exact_trajectory 0.844 ± 0.055,
  exact_turn 0.853 ± 0.033, grpo 0.546 ± 0.100, no_reward 0.023 ± 0.002, step 0.492 ± 0.089, strict_16 0.282 ± 0.032,
  strict_4 0.315 ± 0.037, trajectory 0.572 ± 0.093, turn 0.712 ± 0.052; 6 seeds (results/cm2.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 80_000
"""About a hundred iterations."""
LEVELS = ("trajectory", "turn", "step")
ERRS = "task.flip_rate=0.2"
EXACT = "exact_reward"


def get_config() -> ConfigDict:
  """Three assignments with an exact judge and with one that errs, two group sizes, GRPO, and no reward."""
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
      "evaluation.every_iterations=16",  # an evaluation costs as much as several iterations
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
