"""Do asymmetric advantages keep rare right answers alive?

Pairs of digits with a given sum. Each prompt has five right answers, two of them rare in demonstrations, and a lure
makes the likeliest answer wrong (rl_jax/tasks/pairs.py). The paper claims about pass@k at the end of training, at a
pass@1 that is no worse, that A-GRAE and the negative-dominant control are above GRPO and the positive-dominant one is
below it; and that the hard-focused control ends higher on hard prompts, here those with more operands. `no_reward` is
the control of the task: sharpening must not be enough. There is no oracle.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget.

Command: python -m rl_jax.study a_grae --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 609 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 200,000 tokens: grpo 0.847 ± 0.083, a_grae 0.851 ± 0.035; 6 seeds
  (results/a_grae.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, above, below

BUDGET = 200_000
PASS = "held_out/pass_at_16"
HARD = "held_out/three/sampled_accuracy"
FORMS = ("negative_dominant", "positive_dominant", "hard_focused", "easy_focused")


def get_config() -> ConfigDict:
  """GRPO, A-GRAE, its four control experiments, and no reward."""
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo_pairs", "overrides": ()},
      "a_grae": {"config": "a_grae", "overrides": ()},
      **{form: {"config": "a_grae", "overrides": (f"method.form={form}",)} for form in FORMS},
      "no_reward": {"config": "grpo_pairs", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    overrides=(
      "task.levels={'two': {'operands': 2}, 'three': {'operands': 3}}",
      "task.error_rate=0.1",
      "task.lure_rate=0.6",
      "minibatches_per_epoch=4",
      "evaluation.prompts=128",
      "evaluation.samples_per_prompt=16",
      "evaluation.pass_at=(16,)",
    ),
    baseline="grpo",
    **common.SMALL,
    metrics=(ACCURACY, GREEDY, PASS, HARD, "entropy"),
    gates={"no_reward": "no_reward"},
    claims={
      "A-GRAE finds more right answers in 16 than GRPO": above("a_grae", "grpo", PASS),
      "A-GRAE is more accurate than GRPO": above("a_grae", "grpo"),
      "negative-dominant advantages find more right answers in 16 than GRPO": above("negative_dominant", "grpo", PASS),
      "positive-dominant advantages find fewer right answers in 16 than GRPO": below("positive_dominant", "grpo", PASS),
      "A-GRAE keeps more entropy than GRPO": above("a_grae", "grpo", "entropy"),
      "positive-dominant advantages keep less entropy than GRPO": below("positive_dominant", "grpo", "entropy"),
      "hard-focused advantages are more accurate on hard prompts than easy-focused ones": above(
        "hard_focused", "easy_focused", HARD
      ),
    },
  )
