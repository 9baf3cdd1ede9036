"""Do past outcomes, reflection and a ranking of cut responses pay if most groups have no signal?

A pool of 256 chains, each visited about eight times. In the demonstrations nine subtractions of ten are wrong, and
texts are longer than a response may be, so fewer than one response in ten is right and many are cut. The paper claims
that groups keep a signal, that accuracy grows faster than with GRPO, and that the ranking keeps entropy high. Here all
generated tokens count, including those of reflections; replayed tokens were counted when they were generated.

`grpo` is the method without its parts, so it reports the same metrics; `dapo` drops groups without a signal. `replay`,
`reflection` and `ranking` have one part each, without the bonus for short responses; `r3` has all parts and the bonus,
and each of `no_replay`, `no_reflection` and `no_ranking` lacks one part. `no_reward` is the control. There is no
oracle, as the claims are not about credit.

Every entry has 16 prompts, 8 responses and four optimiser steps per iteration, and is tuned in the same way: over three
learning rates, from separate starts, on half of the budget.

Command: python -m rl_jax.study r3 --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 354 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 200,000 tokens: grpo 0.288 ± 0.291, no_ranking 0.208 ± 0.164, no_reflection
  0.000 ± 0.001, no_replay 0.000 ± 0.000, no_reward 0.000 ± 0.000, r3 0.000 ± 0.001, reflection 0.219 ± 0.188, replay
  0.290 ± 0.289; 6 seeds (results/r3.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above

BUDGET = 200_000
SIGNAL = "informative"
OFF = {
  "replay": ("method.replayed=0",),
  "reflection": ("method.reflected_prompts=0",),
  "ranking": ("method.ranking_reward=0.0",),
}
"""Overrides that remove each part."""


def without(*parts: str) -> tuple[str, ...]:
  """Overrides that remove some parts."""
  return tuple(override for part in parts for override in OFF[part])


def get_config() -> ConfigDict:
  """GRPO, DAPO, R3, each part alone, R3 without each part, and no reward."""
  alone = {part: (*without(*(other for other in OFF if other != part)), "method.max_length=1") for part in OFF}
  of_method = {
    "grpo": (*without(*OFF), "method.max_length=1"),
    "r3": (),
    **alone,
    **{f"no_{part}": without(part) for part in OFF},
  }
  updates = lambda left, right: above(left, right, ACCURACY, "updates")
  tokens = lambda left, right, metric: above(left, right, metric, "tokens")
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      **{name: {"config": "r3", "overrides": overrides} for name, overrides in of_method.items()},
      "dapo": {"config": "grpo_pool", "overrides": ("method.name=rl_jax.methods.dapo",)},
      "no_reward": {"config": "grpo_pool", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    **common.SMALL,
    baseline="grpo",
    metrics=(ACCURACY, GREEDY, LENGTH, SIGNAL, "entropy", "truncated", "replayed", "reflections", "ranking_reward"),
    gates={"no_reward": "no_reward"},
    claims={
      "more new responses have a signal than under GRPO, over equal tokens": tokens("r3", "grpo", SIGNAL),
      **{f"more have a signal with {part} alone": tokens(part, "grpo", SIGNAL) for part in ("replay", "ranking")},
      "replay alone is more accurate than GRPO over equal updates": updates("replay", "grpo"),
      "replay alone is more accurate than GRPO over equal tokens": tokens("replay", "grpo", ACCURACY),
      "R3 is more accurate than GRPO over equal updates": updates("r3", "grpo"),
      "R3 is more accurate than GRPO over equal tokens": tokens("r3", "grpo", ACCURACY),
      "R3 is more accurate than dropping groups without a signal, over equal tokens": tokens("r3", "dapo", ACCURACY),
      "the ranking keeps more entropy than GRPO, over equal tokens": tokens("ranking", "grpo", "entropy"),
      **{f"R3 needs its {part}: more accurate over equal updates": updates("r3", f"no_{part}") for part in OFF},
    },
  )
