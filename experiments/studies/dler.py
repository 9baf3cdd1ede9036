"""Does DLER keep the accuracy that GRPO loses if responses are cut?

The paper's claims at small scale: under a limit of 14 of 24 tokens, when the start writes 16 and five steps take 13,
GRPO is less accurate than DLER over equal updates (`grpo_cut` is SIRI with a constant limit and GRPO's clip); dynamic
sampling and the wider clip each improve accuracy; limits by difficulty shorten responses at equal accuracy. See
`of_length` in studies/common.py for task, gates and tuning.

Command: python -m rl_jax.study dler --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 384 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 200,000 tokens: grpo_cut 0.464 ± 0.128, dler 0.423 ± 0.136; 6 seeds
  (results/dler.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, FEW_TOKENS, LENGTH, MOST_TOKENS, above, below

SHARE = FEW_TOKENS / MOST_TOKENS
OFTEN = ("logging.every_iterations=2", "evaluation.every_iterations=4")
"""Methods with several rounds of sampling need fewer iterations for the budget; every fourth one is measured."""


def get_config() -> ConfigDict:
  """DLER, three forms of it and GRPO under one limit, 200,000 tokens for each seed."""
  cut = f"method.target_shares=({SHARE},)"
  return common.of_length(
    {
      "grpo_cut": (
        "siri",
        ("method.clip_high=0.2", f"method.longest_share={SHARE}", f"method.shortest_share={SHARE}"),
      ),
      "dler": ("dler", (*OFTEN, cut)),
      "one_round": ("dler", (cut, "method.max_rounds=1")),
      "even_clip": ("dler", (*OFTEN, cut, "method.clip_high=0.2")),
      "by_difficulty": (
        "dler",
        (*OFTEN, f"method.target_shares=({SHARE}, {SHARE * 0.75})", "method.difficulty_thresholds=(0.5,)"),
      ),
    },
    baseline="grpo_cut",
    claims={
      "DLER: more accurate than GRPO under the cap over equal updates": above("dler", "grpo_cut", ACCURACY, "updates"),
      "dynamic sampling: more accurate over equal updates": above("dler", "one_round", ACCURACY, "updates"),
      "wider clip: more accurate over equal updates": above("dler", "even_clip", ACCURACY, "updates"),
      "limits by difficulty: shorter at equal accuracy": below("by_difficulty", "dler", LENGTH, "accuracy")
      | common.OF_DIGITS,
    },
  )
