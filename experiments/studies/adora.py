"""Does a weight per prompt by its rollouts (ADORA) make responses longer, and learning faster, than GRPO's?

The paper's claims at small scale: damped prompts where longer thinking does not pay make responses longer than
GRPO's; amplified prompts that are hard and where it pays reach an accuracy in fewer updates. Longer means of all
responses here, right and wrong ones. See `of_length` in studies/common.py for task, gates and tuning.
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, LENGTH, above


def get_config() -> ConfigDict:
  """Two forms of ADORA beside GRPO, 300,000 tokens for each seed."""
  return common.of_length(
    {
      "grpo": ("grpo", ("method.kl_coefficient=0.001",)),
      "damped": ("adora", ()),
      "amplified": ("adora", ("method.variant=paper_llm",)),
    },
    baseline="grpo",
    claims={
      "damped: longer responses than GRPO": above("damped", "grpo", LENGTH),
      "amplified: more accurate than GRPO over equal updates": above("amplified", "grpo", ACCURACY, "updates"),
    },
  )
