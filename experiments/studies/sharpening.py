"""Do the gates fail on the standard task, where greedy answers of the start are already right?

A negative control: chains of four operations with uniform slips. The gates start, no_reward and oracle are expected to
fail: training without a reward does as well, and true credit does not pay. No claim can be judged here, nor in
studies/credit.py.

Command: python -m rl_jax.study sharpening --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 45 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 120,000 tokens: no_reward 0.903 ± 0.014, grpo 0.886 ± 0.010, oracle 0.873 ±
  0.011; 5 seeds (results/sharpening.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH


def get_config() -> ConfigDict:
  """Three entries, 120,000 tokens for each seed."""
  return common.study(
    token_budget=120_000,
    entries={name: {"config": name, "overrides": ()} for name in ("grpo", "oracle", "no_reward")},
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH),
    gates={"oracle": "oracle", "no_reward": "no_reward"},
    claims={},
  )
