"""Is a prior worth more than further responses?

Deceptive chains of three and of five operations. Their success probability falls with every luring operator: a prior by
level captures little of that, a regression on the tokens of the prompt much. The paper claims that four responses with
a prior are more accurate per response than GRPO with 4 and with 16, at a lower and steadier gradient norm and a higher
entropy, and that further responses to prompts whose prior is refuted help. Here all generated tokens count.

GRPO divides by the group's std and V0.5 does not, so norms differ in unit, and their variances are divided by squared
means: `mean_4` is GRPO with 4 responses and no division. A mean that includes a response's own reward also shortens the
gradient, by a quarter with 4 responses, which leaves less to vary but is not a gain. `constant` has an uninformative
prior, `no_rounds` the regression without further responses. All losses are means over tokens. `no_reward` is the
control. There is no oracle, as the claims are not about credit.

Every entry has 16 prompts and four optimiser steps per iteration, and is tuned in the same way: over three learning
rates, from separate starts, on half of the budget.

Command: python -m rl_jax.study v05 --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 1,048 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 300,000 tokens: grpo_16 0.777 ± 0.197, grpo_4 0.801 ± 0.214, model 0.773 ±
  0.203, no_rounds 0.810 ± 0.217, regression 0.789 ± 0.207; 6 seeds (results/v05.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, above, below

BUDGET = 300_000
"""About ninety iterations of GRPO with 16 responses."""
NORM = "gradient_norm"
PRIORS = ("running", "regression", "model", "constant")


def get_config() -> ConfigDict:
  """GRPO with 4 and with 16 responses, four priors, no further responses, and no reward."""
  grpo = {"grpo_4": (4, ()), "grpo_16": (16, ()), "mean_4": (4, ("method.scale=none",))}
  of_v05 = {prior: (f"method.prior={prior}",) for prior in PRIORS}
  per_token = lambda left, right: above(left, right, ACCURACY, "tokens")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      **{
        name: {
          "config": "grpo:deceptive_4",
          "overrides": (f"completions_per_prompt={count}", "method.aggregation=token_mean", *overrides),
        }
        for name, (count, overrides) in grpo.items()
      },
      **{name: {"config": "v05:deceptive_4", "overrides": overrides} for name, overrides in of_v05.items()},
      "no_rounds": {"config": "v05:deceptive_4", "overrides": (*of_v05["regression"], "method.rounds=0")},
      "no_reward": {"config": "no_reward:deceptive_4", "overrides": ("completions_per_prompt=4",)},
    },
    overrides=(
      "task.levels={'three': {'operations': 3, 'operators': '+-'}, 'five': {'operations': 5, 'operators': '+-'}}",
    ),
    **common.SMALL,
    baseline="grpo_16",
    metrics=(ACCURACY, GREEDY, NORM, "entropy", "prior_error", "rows_per_prompt"),
    gates={"no_reward": "no_reward"},
    claims={
      **{
        f"{prior}: more accurate than GRPO with {count} over equal tokens": per_token(prior, f"grpo_{count}")
        for prior in ("running", "regression", "model")
        for count in (4, 16)
      },
      "a regression is a better prior than a constant, over equal tokens": per_token("regression", "constant"),
      "a regression is better than the mean of 4 alone, over equal tokens": per_token("regression", "mean_4"),
      "further responses are worth their tokens": per_token("regression", "no_rounds"),
      **{
        f"the gradient norm varies less than that of {name}": below("regression", name, NORM, "relative_variance")
        for name in ("grpo_4", "mean_4")
      },
      "the gradient norm is below that of GRPO with 16, over equal tokens": below(
        "regression", "grpo_16", NORM, "tokens"
      ),
      "a regression keeps more entropy than GRPO with 16 at equal accuracy": above(
        "regression", "grpo_16", "entropy", "accuracy"
      )
      | common.OF_DIGITS,
    },
  )
