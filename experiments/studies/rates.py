"""Does exact credit pay at every learning rate, or only at those that tuning chose?

GRPO and true credit on the deceptive chains of studies/horizon.py, from its six starts, at the two rates between
which tuning chooses. Tuning sees three other starts, so its choice is uncertain; here both methods have each of them.

Command: python -m rl_jax.study rates --results=experiments/results
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, above
from rl_jax.experiments.studies.horizon import HORIZONS

RATES = {"low": 1.5e-4, "high": 4.5e-4}


def get_config() -> ConfigDict:
  """Four entries, twelve seeds of six starts; nothing is tuned."""
  return common.tuned_study(
    token_budget=HORIZONS[""]["study"]["token_budget"],
    entries={
      f"{name}_{place}": {"config": f"{name}:deceptive", "overrides": (f"learning_rate={rate}",)}
      for name in ("grpo", "oracle")
      for place, rate in RATES.items()
    },
    rates=(),
    runs="horizon",
    baseline="grpo_low",
    gates={},
    claims={
      f"at the {place} rate true credit is more accurate than GRPO over equal tokens": above(
        f"oracle_{place}", f"grpo_{place}", ACCURACY, "tokens"
      )
      for place in RATES
    },
  )
