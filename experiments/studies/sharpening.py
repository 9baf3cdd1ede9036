"""A negative control: gates on the standard task, whose start is already right greedily.

Chains of four operations with uniform slips. The gates start, no_reward and oracle are expected to fail: training
without a reward does as well, and true credit does not pay. No claim can be judged here, nor in studies/credit.py.
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
