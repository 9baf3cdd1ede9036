"""Which method's credit is closest to the truth, on the same responses of the same frozen policies?

The policies are the warm starts of studies/horizon.py and, "half way", those after 60 iterations of GRPO; neither
changes here (learning rate 0), so every method credits the same answers to the same problems. PRIME's process model
does learn. The true credit of a step is the change in value, estimated from 64 completions at each of its ends;
`credit/noise_floor` is the part that remains unexplained due to their noise, and `oracle` is the exact credit, scored
like the others. Accuracy does not change. Two warm starts x three seeds.

Command: python -m rl_jax.study experiments/studies/credit_rows.py --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 311 s in all, tuning not counted.
Expected: credit/unexplained after 60,000 tokens: grpo 0.918 ± 0.029, spo_chain 0.793 ± 0.094, oracle 0.235 ± 0.050; 6
  seeds (results/credit_rows.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import below
from rl_jax.experiments.studies.horizon import own_overrides

METHODS = ("grpo", "rloo", "prime", "spo_chain", "spae", "oracle")
UNEXPLAINED = "credit/unexplained"
ALL_GROUPS = ("method.lowest_accuracy=0.0", "method.highest_accuracy=1.0")
"""PRIME's filter would leave out rows that the others are scored on."""


POLICIES = {"": "deceptive", "_half_way": "half_way"}
"""Suffix of a method's name, and the variant of its config that starts there."""


def get_config() -> ConfigDict:
  """Six methods on two policies, 60,000 tokens for each seed."""
  return common.study(
    token_budget=60_000,
    entries={name + suffix: _entry(name, variant) for suffix, variant in POLICIES.items() for name in METHODS},
    overrides=("num_seeds=6", "stages.warm_start.num_seeds=2", "learning_rate=0.0"),
    final_overrides=(
      "evaluation.credit_prompts=8",
      "evaluation.credit_samples=64",
      "evaluation.every_iterations=1000",
      "logging.every_iterations=2",
    ),
    baseline="grpo",
    metrics=(UNEXPLAINED, "credit/noise_floor", "credit/rank_correlation", "credit/sign_agreement", "credit/steps"),
    claims={
      f"{title} explains more of the truth than GRPO{where}": below(name + suffix, "grpo" + suffix, UNEXPLAINED)
      for suffix, where in (("", ""), ("_half_way", ", half way"))
      for name, title in (("prime", "PRIME"), ("spo_chain", "SPO-chain"), ("spae", "SPAE"))
    },
  )


def _entry(name: str, variant: str) -> dict:
  return {
    "config": f"{name}:{variant}",
    "overrides": (
      *own_overrides(name),
      *(ALL_GROUPS if name == "prime" else ()),
      *(("stages.half_way.num_seeds=2",) if variant == "half_way" else ()),
    ),
  }
