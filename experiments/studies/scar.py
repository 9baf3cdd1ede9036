"""Does Shapley credit for parts of a response learn faster than the outcome, and only if parts have their own value?

Words of eight letters in cipher, whose reward is partly additive and given at the end (rl_jax/tasks/cipher.py). A lure
makes a wrong symbol the likeliest one in every place, so growing surer does not help, as `no_reward` shows. An
iteration has few rows, so the reward's information about one of eight symbols is mostly noise from the others. The
paper claims faster convergence than PPO on the outcome. `ppo` is the method with alpha 0 and lambda 0.95; `ppo_short`
has the lambda of the others, 0.5, which demands more of the critic. `uniform` splits the same sum evenly, `orders`
scores the prefixes of two random orders in place of all 254 coalitions, and `potential` gives each symbol the value
that it adds to the symbols before it.

The negative control is a reward that needs all symbols, on words of three letters: there each symbol has an equal
share, so Shapley credit should equal the uniform split, and it does up to rounding.

Every entry takes four optimiser steps per iteration and is tuned in the same way: over three learning rates, from
separate starts, on half of the budget. The oracle is drawn but is not a gate: its values are expected rewards, while
the gate asks for accuracy.

Command: python -m rl_jax.study scar --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 281 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 40,000 tokens: no_reward 0.000 ± 0.000, oracle 0.983 ± 0.019, orders 0.941 ±
  0.091, ppo 0.640 ± 0.424, ppo_short 0.965 ± 0.008, scar 0.983 ± 0.019, scar_whole 0.855 ± 0.201, uniform 0.642 ±
  0.378, uniform_whole 0.855 ± 0.201; 6 seeds (results/scar.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 40_000
"""About 280 iterations."""
REWARD = "held_out/reward"
WHOLE = ("task.levels={'three': {'letters': 3}}", "task.reward=all_or_nothing", "method.max_spans=3")


def get_config() -> ConfigDict:
  """The outcome in three forms, four forms of credit, two controls, and two forms of credit for an all-or-nothing
  reward."""
  of_method = {
    "ppo": ("method.alpha=0.0", "method.credit=uniform", "method.lam=0.95"),
    "ppo_short": ("method.alpha=0.0", "method.credit=uniform"),
    "uniform": ("method.credit=uniform",),
    "scar": (),
    "orders": ("method.orders=2",),
    "potential": ("method.alpha=0.0", "method.shaping=potential"),
    "uniform_whole": ("method.credit=uniform", *WHOLE),
    "scar_whole": WHOLE,
  }
  updates = lambda left, right: above(left, right, REWARD, "updates")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      **{name: {"config": "scar:hard", "overrides": overrides} for name, overrides in of_method.items()},
      "grpo": {"config": "grpo_cipher:hard", "overrides": ()},
      "oracle": {"config": "grpo_cipher:hard", "overrides": ("method.name=rl_jax.methods.oracle",)},
      "no_reward": {"config": "grpo_cipher:hard", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    overrides=(
      "task.error_rate=0.1",
      "task.lure_rate=0.6",
      "prompts_per_iteration=4",
      "completions_per_prompt=4",
      "minibatches_per_epoch=4",
    ),
    **common.SMALL,
    baseline="ppo",
    metrics=(ACCURACY, GREEDY, LENGTH, REWARD),
    gates={"no_reward": "no_reward"},
    claims={
      "Shapley credit has a higher reward than PPO on the outcome over equal updates": updates("scar", "ppo"),
      "it has than PPO with its own lambda": updates("scar", "ppo_short"),
      "it has than a uniform split": updates("scar", "uniform"),
      "it has than GRPO": updates("scar", "grpo"),
      "from two random orders it has a higher reward than PPO": updates("orders", "ppo"),
      "negative control, all or nothing: it has a higher reward than a uniform split": updates(
        "scar_whole", "uniform_whole"
      ),
    },
  )
