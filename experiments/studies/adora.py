"""Does a weight per prompt, based on its rollouts (ADORA), make responses longer and learning faster than GRPO's?

The paper's claims at small scale: damping prompts on which longer thinking does not pay makes responses longer than
GRPO's; amplifying hard prompts on which it pays, here those of five operations, lets them be learnt in fewer updates.
See `of_length` in studies/common.py for task, gates and tuning.

Command: python -m rl_jax.study adora --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 139 s in all, tuning not counted.
Expected: held_out/correct_response_length after 200,000 tokens: grpo 15.584 ± 0.721, damped 17.175 ± 1.577; 6 seeds
  (results/adora.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, CORRECT_LENGTH, GREEDY, HARD, LENGTH, above


def get_config() -> ConfigDict:
  """GRPO and two forms of ADORA, 200,000 tokens for each seed."""
  return common.of_length(
    {
      "grpo": ("grpo", ("method.kl_coefficient=0.001",)),
      "damped": ("adora", ()),
      "amplified": ("adora", ("method.variant=paper_llm",)),
    },
    baseline="grpo",
    claims={
      "damped: longer right responses than GRPO": above("damped", "grpo", CORRECT_LENGTH),
      "amplified: more accurate than GRPO on hard prompts over equal updates": above(
        "amplified", "grpo", HARD, "updates"
      ),
    },
    metrics=(ACCURACY, GREEDY, HARD, LENGTH, CORRECT_LENGTH),
  )
