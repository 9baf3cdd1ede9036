"""Does a bandit over difficulty levels (DUMP) beat drawing all levels equally, for the same number of generated tokens?

Chains of two to eight operations, six levels. The same method at three temperatures of the bandit: as in the paper, so
high that all levels are equally likely, and 0, which always takes the best level. Held-out accuracy is the mean over
all levels with equal weight. There is no tuning and no oracle of levels; claims are judged if the other gates hold, and
`no_reward`, on levels drawn equally, is the negative control. The sampler may differ from the trainer by 1e-4: on some
machines rounding errors reach 1.6e-5 in the longest chains, more than the 1e-5 that a run allows by default.

Command: python -m rl_jax.study curriculum --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 207 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 160,000 tokens: dump 0.425 ± 0.031, greedy 0.406 ± 0.035, no_reward 0.083 ±
  0.007, uniform 0.382 ± 0.037; 5 seeds (results/curriculum.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import above

TEMPERATURES = {"dump": 0.1, "uniform": 1e6, "greedy": 0.0}


def get_config() -> ConfigDict:
  """Three temperatures and a control, 160,000 tokens for each seed."""
  return common.study(
    token_budget=160_000,
    entries={
      name: {"config": "dump", "overrides": (f"method.tau={tau}", "sampling.agreement=1e-4")}
      for name, tau in TEMPERATURES.items()
    }
    | {
      "no_reward": {
        "config": "dump",
        "overrides": ("method.name=rl_jax.methods.no_reward", "sampling.agreement=1e-4"),
      }
    },
    gates={"no_reward": "no_reward"},
    baseline="uniform",
    claims={
      "dump: higher accuracy than uniform sampling": above("dump", "uniform"),
      "dump: always taking the best level is worse": above("dump", "greedy"),
    },
  )
