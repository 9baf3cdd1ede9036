"""Whose credit is like the truth, on the same responses of the same frozen policy?

The policy is the warm start of studies/horizon.py and never moves (learning rate 0), so that every method credits the
same answers to the same problems; PRIME's process model does learn. The truth of a step is the change of the value,
from 64 completions at each of its ends; `credit/noise_floor` is what their noise leaves unexplained, and `oracle` the
exact credit scored like the others. Accuracy stays where it is. Two warm starts x three seeds.
"""

from ml_collections import ConfigDict

from experiments.studies import common
from experiments.studies.common import below
from experiments.studies.horizon import ENTRIES

METHODS = ("grpo", "rloo", "prime", "spo_chain", "spae", "oracle")
UNEXPLAINED = "credit/unexplained"
ALL_GROUPS = ("method.lowest_accuracy=0.0", "method.highest_accuracy=1.0")
"""PRIME's filter would leave rows out that the others are scored on."""


def get_config() -> ConfigDict:
  """Six entries, 60,000 tokens for each seed."""
  return common.study(
    token_budget=60_000,
    entries={
      name: ENTRIES[name] | {"overrides": ENTRIES[name].get("overrides", ()) + (ALL_GROUPS if name == "prime" else ())}
      for name in METHODS
    },
    overrides=("num_seeds=6", "stages.warm_start.num_seeds=2", "learning_rate=0.0"),
    final_overrides=(
      "evaluation.credit_prompts=2",
      "evaluation.credit_samples=64",
      "evaluation.every_iterations=1000",
      "logging.every_iterations=2",
    ),
    baseline="grpo",
    metrics=(UNEXPLAINED, "credit/noise_floor", "credit/rank_correlation", "credit/sign_agreement", "credit/steps"),
    claims={
      "PRIME explains more of the truth than GRPO": below("prime", "grpo", UNEXPLAINED),
      "SPO-chain explains more of the truth than GRPO": below("spo_chain", "grpo", UNEXPLAINED),
      "SPAE explains more of the truth than GRPO": below("spae", "grpo", UNEXPLAINED),
    },
  )
