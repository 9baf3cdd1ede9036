"""Do candidates of one step from a shared prefix need fewer updates than whole episodes, the fewer the more steps?

Episodes of two, four and eight independent decisions (rl_jax/tasks/environments/decisions.py), each of which earns its
share of the reward at once. The start decides at random, so that growing surer does not help, as `no_reward` shows. The
advantage of a decision in a whole episode holds the luck of all others: over T decisions its variance is T times that
of SLATE, which tests/methods/test_slate.py shows by enumeration. The paper claims faster learning for that reason.
`grpo_8` and `slate_8` have eight decisions, `outcome` is GRPO with a reward for episodes without a wrong decision
alone. Whatever T is, an iteration has 256 decisions and as many tokens in eight candidates or episodes each, and a
reward is the share of right decisions: differences at the three horizons can be compared.

The negative control is the variant "bait": one and a half times as much as a right decision, at the price of all later
ones. From a start that is right four times in five, whole episodes learn to leave it, and steps judged by themselves to
take it. The greedy answers of that start are right, so it has no gates.

Every entry takes four optimiser steps per iteration and is tuned alike, over three learning rates from starts of their
own, on half of the budget. There is no oracle: its gate asks for tokens, and the claims are on updates. The claims are
older than any run. Modulus, rates and budget were set anew after a first run of `grpo_4`, `slate_4` and the tuning of
`grpo_8`, whose accuracy was 0 at every rate; the bait was an entry until its start failed a gate.

Command: python -m rl_jax.study slate --results=experiments/results
Expected: no result yet.
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 40_000
"""Some 80 iterations."""
RATES = (4e-4, 8e-4, 1.6e-3)
"""Higher than in other studies: a start that decides at random has a sum to learn, and half of the budget has to show
which rate learns it."""
REWARD = "held_out/reward"
HORIZONS = {"2": (":easy", 16), "4": ("", 8), "8": (":hard", 4)}
"""Variant and prompts per iteration, by the number of decisions."""
BAIT = ("task.bait=1.5", "task.error_rate=0.3", "stages.warm_start.num_iterations=300")


def get_config(variant: str = "") -> ConfigDict:
  """Episodes and candidates of three horizons, the outcome alone, no reward; or both methods with a bait.

  `variant`: "bait".
  """

  def entry(method: str, horizon: str = "4", *overrides: str) -> dict:
    form, prompts = HORIZONS[horizon]
    return {"config": f"{method}{form}", "overrides": (f"prompts_per_iteration={prompts}", *overrides)}

  updates = lambda left, right, metric=REWARD: above(left, right, metric, "updates")
  if variant == "bait":
    return _study(
      {"grpo_bait": entry("grpo_decisions", "4", *BAIT), "slate_bait": entry("slate", "4", *BAIT)},
      {
        "negative control, a bait: SLATE has a lower reward than GRPO": below(
          "slate_bait", "grpo_bait", REWARD, "updates"
        )
      },
      baseline="grpo_bait",
      gates={},
    )
  if variant:
    raise ValueError(f"no variant {variant!r}: leave it out, or take bait")
  return _study(
    {
      **{f"grpo_{horizon}": entry("grpo_decisions", horizon) for horizon in HORIZONS},
      **{f"slate_{horizon}": entry("slate", horizon) for horizon in HORIZONS},
      "outcome": entry("grpo_decisions", "4", "task.reward=all"),
      "no_reward": entry("grpo_decisions", "4", "method.name=rl_jax.methods.no_reward"),
    },
    {
      **{
        f"of {horizon} decisions SLATE has a higher reward than GRPO over equal updates": updates(
          f"slate_{horizon}", f"grpo_{horizon}"
        )
        for horizon in HORIZONS
      },
      "SLATE is more accurate than GRPO on the outcome alone": updates("slate_4", "outcome", ACCURACY),
      "GRPO on all rewards is more accurate than on the outcome alone": updates("grpo_4", "outcome", ACCURACY),
    },
    baseline="grpo_4",
    gates={"no_reward": "no_reward"},
  )


def _study(entries: dict, claims: dict, *, baseline: str, gates: dict) -> ConfigDict:
  return common.tuned_study(
    token_budget=BUDGET,
    entries=entries,
    overrides=(
      "task.modulus=3",
      "task.error_rate=1.0",
      "minibatches_per_epoch=4",
      "stages.warm_start.num_iterations=100",  # the form of a turn is all that there is to learn
    ),
    stages=("warm_start",),
    **{**common.SMALL, "rates": RATES},
    baseline=baseline,
    metrics=(REWARD, ACCURACY, GREEDY, LENGTH),
    gates=gates,
    claims=claims,
  )
