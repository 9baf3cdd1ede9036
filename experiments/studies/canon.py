"""Do advantages relative to halves of a group (CANON) give shorter responses, or faster learning, than Dr. GRPO?

The paper's claims at small scale: CANON-Eff (halves by length, mu 1/2, alpha below 1) is shorter than Dr. GRPO at equal
accuracy, and the more so the lower alpha is; CANON-Inter reaches an accuracy in fewer updates, while random halves do
not; CANON-Intra keeps more entropy than CANON-Inter. `inter_length`, `inter_entropy` and `inter_random` differ only in
the metric that divides the group. All have Dr. GRPO's loss with the clip of CANON. See `of_length` in studies/common.py
for task, gates and tuning.

Command: python -m rl_jax.study canon --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 382 s in all, tuning not counted.
Expected: held_out/response_length after 200,000 tokens: dr_grpo 16.179 ± 0.705, alpha_90 14.005 ± 1.002, alpha_70
  12.474 ± 1.004; 6 seeds (results/canon.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

EFFICIENT = ("method.metric=length", "method.mu=0.5")


def get_config() -> ConfigDict:
  """Dr. GRPO and six forms of CANON, 200,000 tokens for each seed."""
  return common.of_length(
    {
      "dr_grpo": ("dr_grpo", ("method.clip_high=0.28", "method.dual_clip=3.0")),
      "alpha_90": ("canon", (*EFFICIENT, "method.alpha=0.9")),
      "alpha_70": ("canon", (*EFFICIENT, "method.alpha=0.7")),
      "inter_length": ("canon", ("method.metric=length",)),
      "inter_entropy": ("canon", ()),
      "inter_random": ("canon", ("method.metric=random",)),
      "intra_entropy": ("canon", ("method.mu=0.0",)),
    },
    baseline="dr_grpo",
    claims={
      "alpha of 9 in 10: shorter than Dr GRPO at equal accuracy": below("alpha_90", "dr_grpo", LENGTH, "accuracy")
      | common.OF_DIGITS,
      "alpha of 7 in 10: shorter than of 9 in 10": below("alpha_70", "alpha_90", LENGTH),
      **{
        f"{name}: more accurate than Dr GRPO over equal updates": above(name, "dr_grpo", ACCURACY, "updates")
        for name in ("inter_length", "inter_entropy", "inter_random")
      },
      "intra: more entropy than inter": above("intra_entropy", "inter_entropy", "entropy"),
    },
    metrics=(ACCURACY, GREEDY, LENGTH, "entropy"),
  )
