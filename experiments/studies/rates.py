"""Does the oracle beat GRPO at every learning rate, or only at those that tuning chose?

GRPO and the oracle (exact values of steps) on the deceptive chains of studies/horizon.py, from its six starts, at the
two rates between which tuning chooses. Tuning sees three other starts, so its choice is uncertain; here both methods
have each of them.

Command: python -m rl_jax.study rates --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 739 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 300,000 tokens: grpo_low 0.674 ± 0.281, oracle_low 0.726 ± 0.143, grpo_high
  0.468 ± 0.401, oracle_high 0.738 ± 0.199; 12 seeds (results/rates.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common, horizon
from rl_jax.experiments.studies.common import ACCURACY, above

RATES = dict(zip(("low", "high"), horizon.RATES[1:3], strict=True))


def get_config() -> ConfigDict:
  """Four entries, twelve seeds of six starts; nothing is tuned."""
  return common.tuned_study(
    token_budget=horizon.HORIZONS[""]["study"]["token_budget"],
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
      f"at the {place} rate the oracle is more accurate than GRPO over equal tokens": above(
        f"oracle_{place}", f"grpo_{place}", ACCURACY, "tokens"
      )
      for place in RATES
    },
  )
