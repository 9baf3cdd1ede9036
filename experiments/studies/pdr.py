"""Does training on rounds of refinement pay, and does refinement of drafts pay at equal tokens?

Chains of two operations, which one pass solves half of the time at first. `trace` learns from plain responses alone;
`pdr` from plain ones to half of the prompts, and to the other half from responses that read two of four drafts.
`no_imitation` is `pdr` without its second term; `answers` shows the answers of drafts in place of their steps. `long`
is `trace` on demonstrations that write every step twice: the longest single pass that the task has, still shorter than
one round of sequential refinement. `no_reward` is the control. There is no oracle of steps, as the claims are not of
credit.

Every entry is measured in a single pass, with two and three sequential rounds, and with four drafts in parallel; the
last also with right drafts alone and with wrong ones. A path is longer with two sequential rounds than with four drafts
in parallel, and all calls together cost as much with three.

Every entry has 16 prompts, 8 responses and four optimiser steps per iteration, and is tuned alike, over three learning
rates from starts of their own, on half of the budget. Drafts count as tokens; the paper compares at equal updates.

Command: python -m rl_jax.study pdr --results=experiments/results
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 200_000
MEASURED = ("single", "sequential_2", "sequential_3", "parallel_4")
ONCE, TWICE, THRICE, PARALLEL = (f"{form}/accuracy" for form in MEASURED)
RIGHT, ANY, WRONG = (f"oracles/{outcome}" for outcome in ("right", "any", "wrong"))
TOKENS = tuple(f"{form}/{kind}_tokens" for form in MEASURED for kind in ("sequential", "total"))
FORMS = "method.inference=((), (1, 1), (1, 1, 1), (4,))"
LONG = ("task.recheck_rate=1.0", "task.spare_tokens=8")


def within(entry: str, metric: str, other: str) -> dict:
  """The claim that an entry has more of one metric than of another, over equal updates."""
  return above(entry, entry, metric, "updates") | {"right_metric": other}


def get_config() -> ConfigDict:
  """Both halves, plain responses alone, parts, a longer single pass, and no reward."""
  updates = lambda left, right, metric: above(left, right, metric, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      "trace": {"config": "pdr:trace", "overrides": (FORMS,)},
      "pdr": {"config": "pdr", "overrides": (FORMS,)},
      "no_imitation": {"config": "pdr", "overrides": (FORMS, "method.alpha=0.0")},
      "answers": {
        "config": "pdr",
        "overrides": (FORMS, "method.solution=answer", "stages.reading.method.solution=answer"),
      },
      "long": {"config": "pdr:trace", "overrides": (FORMS, *LONG)},
      "no_reward": {"config": "pdr", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    **common.SMALL,
    stages=("warm_start", "critic", "reading"),
    overrides=("evaluation.prompts=256", "evaluation.every_iterations=16"),  # all forms take longer than training, else
    baseline="trace",
    metrics=(ACCURACY, GREEDY, LENGTH, ONCE, TWICE, THRICE, PARALLEL, RIGHT, ANY, WRONG, *TOKENS),
    gates={"no_reward": "no_reward"},
    claims={
      "refined from four drafts, training on both halves is more accurate than on plain responses, over equal updates":
        updates("pdr", "trace", PARALLEL),
      "a single pass loses nothing by it: it is more accurate, over equal updates": updates("pdr", "trace", ACCURACY),
      "imitation pays, refined from four drafts": updates("pdr", "no_imitation", PARALLEL),
      "steps in the workspace are worth more than answers": updates("pdr", "answers", PARALLEL),
      "right drafts are worth more than any": within("pdr", RIGHT, ANY),
      "any drafts are worth more than wrong ones": within("pdr", ANY, WRONG),
      "four drafts in parallel beat two sequential rounds, whose path is longer": within("pdr", PARALLEL, TWICE),
      "two sequential rounds beat a single pass": within("pdr", TWICE, ONCE),
      "they beat a single pass that writes every step twice": above("trace", "long", TWICE, "updates")
        | {"right_metric": ONCE},
      "three sequential rounds beat four drafts in parallel, which cost as much in all":
        within("pdr", THRICE, PARALLEL),
    },
  )  # fmt: skip
