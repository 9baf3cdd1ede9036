"""Does information gain (IGPO) help if nearly all groups of episodes fail, for the same number of generated tokens?

Lookups of three hops in a table of 26 keys, from a warm start that four times in five answers a random key before it
has made all hops. GRPO has the same task, KL and tokens; the answers that IGPO forces after each turn are given, not
generated, and do not count. There is no tuning. True values of turns are not known, so there is no oracle; claims are
judged if the other gates hold, and `no_reward` is the negative control.

Command: python -m rl_jax.study turns --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 455 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 120,000 tokens: grpo 0.869 ± 0.010, igpo 0.878 ± 0.007, igpo_log 0.877 ±
  0.005, no_reward 0.027 ± 0.027; 5 seeds (results/turns.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import above


def get_config() -> ConfigDict:
  """Two methods and a control, 120,000 tokens for each seed."""
  return common.study(
    token_budget=120_000,
    entries={
      "grpo": {"config": "grpo_lookup", "overrides": ()},
      "igpo": {"config": "igpo", "overrides": ()},
      "igpo_log": {
        "config": "igpo",
        "overrides": ("method.gain=log_prob_diff", "method.normalization=separate"),
      },
      "no_reward": {"config": "grpo_lookup", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    gates={"no_reward": "no_reward"},
    note="Five seeds of one start, the same prompts for all and no tuning: intervals cover seeds alone.",
    overrides=("task.guess_rate=0.8", "task.levels.three.keys=26"),
    baseline="grpo",
    claims={
      "igpo: higher accuracy than GRPO": above("igpo", "grpo"),
      "igpo: the later release's gains reach a higher accuracy than GRPO": above("igpo_log", "grpo"),
    },
  )
