"""Does a response limit that falls and rises (SIRI) give shorter responses without a loss of accuracy?

The paper's claims at small scale: three cosine cycles end with shorter responses than a constant limit at L_max, at no
lower accuracy; a constant limit at L_min loses accuracy early. The three entries are one method and differ only in the
limits. The budget is about 180 iterations: a cycle of 60 iterations has 120 updates in each of its halves. See
`of_length` in studies/common.py for task, gates and tuning.

Command: python -m rl_jax.study siri --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 247 s in all, tuning not counted.
Expected: held_out/response_length after 300,000 tokens: longest 16.435 ± 0.633, cosine 12.669 ± 0.920; 6 seeds
  (results/siri.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, FEW_TOKENS, LENGTH, MOST_TOKENS, above, below

SHORT = FEW_TOKENS / MOST_TOKENS


def get_config() -> ConfigDict:
  """A cosine and two constant limits, 300,000 tokens for each seed."""
  return common.of_length(
    {
      "cosine": ("siri", ("method.cycle=60", f"method.shortest_share={SHORT}")),
      "longest": ("siri", ("method.shortest_share=1.0",)),
      "shortest": ("siri", (f"method.longest_share={SHORT}", f"method.shortest_share={SHORT}")),
    },
    baseline="longest",
    controls=("no_reward",),  # the runs of the oracle are shared with studies of another budget
    token_budget=300_000,
    claims={
      "cosine: shorter than a constant L_max": below("cosine", "longest", LENGTH),
      "cosine: more accurate than a constant L_max": above("cosine", "longest", ACCURACY),
      "cosine: shorter than a constant L_max at equal accuracy": below("cosine", "longest", LENGTH, "accuracy")
      | common.OF_DIGITS,
      "constant L_min: less accurate than L_max over equal updates": below("shortest", "longest", ACCURACY, "updates"),
    },
  )
