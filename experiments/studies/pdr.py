"""Does training on rounds of refinement pay, and does refinement of drafts pay at equal tokens?

Chains of two operations, which one pass solves half of the time at first. `trace` learns from plain responses alone;
`pdr` from plain ones to half of the prompts, and to the other half from responses that read two of four drafts.
`no_imitation` is `pdr` without its second term; `answers` shows the answers of drafts in place of their steps.
`no_reward` is the control. There is no oracle of steps, as the claims are not of credit.

The variant "long" compares `trace` with `long`, the same on demonstrations that write every step twice: the longest
single pass that the task has, still shorter than one round of sequential refinement. Its start is right in 0.31 of its
likeliest responses, so its gate fails by a hundredth; it was a part of the study at first and was separated later.

Every entry is measured in a single pass, with two and three sequential rounds, and with four drafts in parallel; the
last also with right drafts alone and with wrong ones, over the prompts that have both. A path is longer with two
sequential rounds than with four drafts in parallel, and all calls together cost about as much with three.

Every entry has 16 prompts, 8 responses and four optimiser steps per iteration, and is tuned alike, over three learning
rates from starts of their own, on half of the budget. Drafts count as tokens; the paper compares at equal updates.

Command: python -m rl_jax.study pdr --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 277 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 200,000 tokens: answers 0.967 ± 0.025, no_imitation 0.969 ± 0.033, no_reward
  0.269 ± 0.044, pdr 0.958 ± 0.024, trace 0.987 ± 0.008; 6 seeds (results/pdr.json).

Command: python -m rl_jax.study pdr:long --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 147 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 200,000 tokens: long 0.967 ± 0.012, no_reward 0.269 ± 0.044, trace 0.987 ±
  0.008; 6 seeds (results/pdr_long.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 200_000
MEASURED = ("single", "sequential_2", "sequential_3", "parallel_4")
ONCE, TWICE, THRICE, PARALLEL = (f"{form}/accuracy" for form in MEASURED)
RIGHT, ANY, WRONG, BOTH = (f"oracles/{outcome}" for outcome in ("right", "any", "wrong", "both"))
TOKENS = tuple(f"{form}/{kind}_tokens" for form in MEASURED for kind in ("sequential", "total"))
FORMS = "method.inference=((), (1, 1), (1, 1, 1), (4,))"
LONG = ("task.recheck_rate=1.0", "task.spare_tokens=8")


def within(entry: str, metric: str, other: str) -> dict:
  """The claim that an entry has more of one metric than of another, over equal updates."""
  return above(entry, entry, metric, "updates") | {"right_metric": other}


def get_config(variant: str = "") -> ConfigDict:
  """Both halves, plain responses alone, parts and no reward, or a longer single pass."""
  if variant not in ("", "long"):
    raise ValueError(f"no variant {variant!r}: leave it out, or take 'long'")
  trace = {"config": "pdr:trace", "overrides": (FORMS,)}
  no_reward = {"config": "pdr", "overrides": ("method.name=rl_jax.methods.no_reward",)}
  options = common.SMALL | {
    "token_budget": BUDGET,
    "stages": ("warm_start", "critic", "reading"),
    # All forms take longer than training, else.
    "overrides": ("evaluation.prompts=256", "evaluation.every_iterations=16"),
    "gates": {"no_reward": "no_reward"},
    "baseline": "trace",
    "metrics": (ACCURACY, GREEDY, LENGTH, ONCE, TWICE, THRICE, PARALLEL, RIGHT, ANY, WRONG, BOTH, *TOKENS),
  }
  if variant == "long":
    options["metrics"] = tuple(name for name in options["metrics"] if not name.startswith("oracles/"))
    refined = above("trace", "long", TWICE, "updates") | {"right_metric": ONCE}
    return common.tuned_study(
      entries={"trace": trace, "long": trace | {"overrides": (FORMS, *LONG)}, "no_reward": no_reward},
      claims={"two sequential rounds beat a single pass that writes every step twice": refined},
      **options,
    )
  updates = lambda left, right, metric: above(left, right, metric, "updates")
  return common.tuned_study(
    entries={
      "trace": trace,
      "pdr": {"config": "pdr", "overrides": (FORMS,)},
      "no_imitation": {"config": "pdr", "overrides": (FORMS, "method.alpha=0.0")},
      "answers": {
        "config": "pdr",
        "overrides": (FORMS, "method.solution=answer", "stages.reading.method.solution=answer"),
      },
      "no_reward": no_reward,
    },
    claims={
      "refined from four drafts, training on both halves is more accurate than on plain responses, over equal updates":
        updates("pdr", "trace", PARALLEL),
      "refined from four drafts, it is more accurate than training on plain responses is in a single pass":
        updates("pdr", "trace", PARALLEL) | {"right_metric": ONCE},
      "a single pass loses nothing by it: it is more accurate, over equal updates": updates("pdr", "trace", ACCURACY),
      "imitation pays, refined from four drafts": updates("pdr", "no_imitation", PARALLEL),
      "steps in the workspace are worth more than answers": updates("pdr", "answers", PARALLEL),
      "right drafts are worth more than any": within("pdr", RIGHT, ANY),
      "any drafts are worth more than wrong ones": within("pdr", ANY, WRONG),
      "four drafts in parallel beat two sequential rounds, whose path is longer": within("pdr", PARALLEL, TWICE),
      "two sequential rounds beat a single pass": within("pdr", TWICE, ONCE),
      "three sequential rounds beat four drafts in parallel, which cost as much in all":
        within("pdr", THRICE, PARALLEL),
    },
    **options,
  )  # fmt: skip
