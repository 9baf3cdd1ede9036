"""Do hints make a task learnable whose reward is too rare for GRPO, and which parts of ADHint are needed for that?

Chains of six subtractions. In demonstrations each step is wrong in eight of ten cases; one in twenty thousand has no
wrong step, and one of 150 ends in the right answer all the same. Of the start's responses one in a hundred is right, by
luck, so nearly all groups fail. The paper claims
higher accuracy without hints (evaluation never gives any) than GRPO and than hints of a fixed length. `fixed` has
hints of half of each solution, pooled as by GRPO. Each part of ADHint is removed in turn: `no_posterior` (advantages
of GRPO), `no_masking` (hints of failures are pushed down), `no_modulation` (hints of successes count in full),
`continuations` (hints have no gradient, so the solutions are never imitated).

A hint of 0.9 of a solution holds all steps and leaves only the answer to write, so the steps are learned by imitation.
In `shorter` a hint has at most 0.7 of the solution and leaves one or two steps; `shorter_continuations` learns only
from these, and would show whether hints help exploration. Neither has been run.

GRPO has eight responses, ADHint four plain ones and four with hints; hint tokens are given and do not count as
generated. `no_reward`, which has no hints, is the control. There is no oracle, as the claims are not about credit.

Every entry has 16 prompts and four optimiser steps per iteration, and is tuned in the same way: over three learning
rates, from separate starts, on half of the budget.

Command: python -m rl_jax.study adhint --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 372 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 150,000 tokens: adhint 0.821 ± 0.111, continuations 0.099 ± 0.005, fixed 0.606
  ± 0.398, grpo 0.094 ± 0.005, no_masking 0.313 ± 0.322, no_modulation 0.916 ± 0.058, no_posterior 0.754 ± 0.275,
  no_reward 0.016 ± 0.011; 6 seeds (results/adhint.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, above, below

BUDGET = 150_000
"""About eighty iterations of GRPO."""
SILENT = "zero_spread_rows"
GAP = "hint_gap"
HINT = "hint_logprob"


def get_config() -> ConfigDict:
  """GRPO, ADHint, hints of a fixed length, ADHint without each of its parts, and no reward."""
  of_method = {
    "adhint": (),
    "fixed": (
      "method.w_min=0.5",
      "method.w_max=0.5",
      "method.noise=0.0",
      "method.beta=0.0",
      "method.hint_gradient=full",
    ),
    "no_posterior": ("method.beta=0.0",),
    "no_masking": ("method.hint_gradient=consistency",),
    "no_modulation": ("method.hint_gradient=selective",),
    "continuations": ("method.hint_gradient=none",),
    "shorter": ("method.w_max=0.7",),
    "shorter_continuations": ("method.w_max=0.7", "method.hint_gradient=none"),
  }
  updates = lambda left, right: above(left, right, ACCURACY, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "grpo": {"config": "grpo:deceptive", "overrides": ("method.aggregation=token_mean",)},
      **{name: {"config": "adhint:deceptive", "overrides": overrides} for name, overrides in of_method.items()},
      "no_reward": {"config": "no_reward:deceptive", "overrides": ()},
    },
    overrides=("task.levels={'six': {'operations': 6, 'operators': '-'}}", "task.lure_rate=0.8"),
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, SILENT, "entropy", "plain_reward", GAP, HINT, "hint_length"),
    gates={"no_reward": "no_reward"},
    claims={
      "more accurate than GRPO over equal updates": updates("adhint", "grpo"),
      "more accurate than GRPO over equal tokens": above("adhint", "grpo", ACCURACY, "tokens"),
      "more accurate than hints of a fixed length over equal updates": updates("adhint", "fixed"),
      "fewer rows without a signal than GRPO, over equal tokens": below("adhint", "grpo", SILENT, "tokens"),
      "a smaller gap between responses with and without a hint than with a fixed length": below("adhint", "fixed", GAP),
      "without selective masking hints are less likely at the end": below("no_masking", "adhint", HINT),
      "the difficulty posterior improves accuracy over equal updates": updates("adhint", "no_posterior"),
      "selective masking improves accuracy over equal updates": updates("adhint", "no_masking"),
      "the modulation improves accuracy over equal updates": updates("adhint", "no_modulation"),
      "learning from the hints improves accuracy over equal updates": updates("adhint", "continuations"),
      "hints that are never imitated are more accurate than GRPO over equal updates": updates(
        "shorter_continuations", "grpo"
      ),
      "keeps more entropy than hints of a fixed length at equal accuracy": above(
        "adhint", "fixed", "entropy", "accuracy"
      )
      | common.OF_DIGITS,
    },
  )
