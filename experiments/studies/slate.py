"""Do candidates of one step from a shared prefix need fewer updates than whole episodes, and the fewer the more steps?

Episodes of two, four and eight independent decisions (rl_jax/tasks/environments/decisions.py); each earns its share of
the reward at once. The start decides at random, so growing surer does not help, as `no_reward` shows. The advantage of
a decision in a whole episode includes the luck of all others: over T decisions its variance is T times that of SLATE,
as tests/methods/test_slate.py shows by enumeration. For that reason the paper claims faster learning. `grpo_8` and
`slate_8` have eight decisions; `outcome` is GRPO with a reward only for episodes without a wrong decision. For every T,
an iteration has 256 decisions and equally many tokens, in eight candidates or episodes each, and the reward is the
share of right decisions: differences at the three horizons can be compared.

The negative control, `slate:bait`, is a bait: it earns one and a half times as much as a right decision, at the price
of all later ones. From a start that is right four times in five, whole episodes learn to avoid it, while steps judged
only by themselves learn to take it. It has no gates, since its start is meant to be right. Both were run as one study,
whose gate on starts failed because of the control's start, and were separated afterwards.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget. There is no oracle: its gate is about tokens, and the claims are about updates.
The claims are older than any run. Modulus, rates and budget were changed after a first run of `grpo_4`, `slate_4` and
the tuning of `grpo_8`, whose accuracy was 0 at every rate.

Command: python -m rl_jax.study slate --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 294 s in all, tuning not counted.
Expected: held_out/reward after 40,000 tokens: grpo_2 0.874 ± 0.133, grpo_4 0.925 ± 0.062, grpo_8 0.551 ± 0.195,
  no_reward 0.338 ± 0.010, outcome 0.014 ± 0.003, slate_2 0.810 ± 0.083, slate_4 0.851 ± 0.091, slate_8 0.666 ± 0.174;
  6 seeds (results/slate.json).

Command: python -m rl_jax.study slate:bait --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 67 s in all, tuning not counted.
Expected: held_out/reward after 40,000 tokens: grpo_bait 0.992 ± 0.003, slate_bait 0.375 ± 0.000; 6 seeds
  (results/slate_bait.json).
"""

from functools import partial

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 40_000
"""About 80 iterations."""
RATES = (4e-4, 8e-4, 1.6e-3)
"""Higher than in other studies: from a start that decides at random, sums must be learned, and half of the budget must
show which rate learns them."""
REWARD = "held_out/reward"
HORIZONS = {"2": (":easy", 16), "4": ("", 8), "8": (":hard", 4)}
"""Variant and prompts per iteration, by the number of decisions."""
BAIT = ("task.bait=1.5", "task.error_rate=0.3", "stages.warm_start.num_iterations=300")


def get_config(variant: str = "") -> ConfigDict:
  """Episodes and candidates at three horizons, the outcome alone, no reward. `variant` "bait": GRPO and SLATE with a
  bait."""
  if variant not in ("", "bait"):
    raise ValueError(f"no variant {variant!r}: leave it out, or take bait")

  def entry(method: str, horizon: str = "4", *overrides: str) -> dict:
    variant, prompts = HORIZONS[horizon]
    return {"config": f"{method}{variant}", "overrides": (f"prompts_per_iteration={prompts}", *overrides)}

  study = partial(
    common.tuned_study,
    token_budget=BUDGET,
    overrides=(
      "task.modulus=3",
      "task.error_rate=1.0",
      "minibatches_per_epoch=4",
      "stages.warm_start.num_iterations=100",  # only the form of a turn is to be learned
    ),
    stages=("warm_start",),
    **{**common.SMALL, "rates": RATES},
    metrics=(REWARD, ACCURACY, GREEDY, LENGTH),
  )
  if variant == "bait":
    return study(
      entries={"grpo_bait": entry("grpo_decisions", "4", *BAIT), "slate_bait": entry("slate", "4", *BAIT)},
      baseline="grpo_bait",
      gates={},
      claims={"SLATE has a lower reward than GRPO": below("slate_bait", "grpo_bait", REWARD, "updates")},
    )
  updates = lambda left, right, metric=REWARD: above(left, right, metric, "updates")
  return study(
    entries={
      **{f"grpo_{horizon}": entry("grpo_decisions", horizon) for horizon in HORIZONS},
      **{f"slate_{horizon}": entry("slate", horizon) for horizon in HORIZONS},
      "outcome": entry("grpo_decisions", "4", "task.reward=all"),
      "no_reward": entry("grpo_decisions", "4", "method.name=rl_jax.methods.no_reward"),
    },
    baseline="grpo_4",
    gates={"no_reward": "no_reward"},
    claims={
      **{
        f"of {horizon} decisions SLATE has a higher reward than GRPO over equal updates": updates(
          f"slate_{horizon}", f"grpo_{horizon}"
        )
        for horizon in HORIZONS
      },
      "SLATE is more accurate than GRPO on the outcome alone": updates("slate_4", "outcome", ACCURACY),
      "GRPO on all rewards is more accurate than on the outcome alone": updates("grpo_4", "outcome", ACCURACY),
    },
  )
