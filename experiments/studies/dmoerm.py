"""Do experts by task and by capability make a reward model that agrees with preferences more often, and holds longer?

Letters to three conflicting tastes (rl_jax/tasks/tastes.py), whose overall labels are wrong in three of ten pairs, as
people agree on 60 to 75 %, and those of an aspect in one of ten. All reward models have the same 8192 pairs. `single`,
`mean`, `worst` and `outer` learn from all overall labels at once; `inner` and `dmoerm` learn from 60 % of them and the
labels of aspects of the same pairs, then from the other 40 %. Labels of aspects are more labels of the same pairs:
`inner` has them too, without the router, and `unfused`, whose reward is the mean of the experts' heads.

The claims of the paper are agreement on held-out pairs, and less over-optimisation by the best of 16 responses and by
RL. Agreement is with the gold reward, which has no noise. The best of n is of the start's responses, the same for all.
The policy is trained by GRPO without a KL term, far enough for the learned reward to be worth less than it says.

Two entries are bounds. `gold` is trained on the gold reward itself. `noise` is a single model of labels of which every
other one is wrong, so that they say nothing. Gates of accuracy do not apply: a learned reward is followed until it is
worth less.

The reward models are tuned alike: six points of the rates of their phases, three seeds each, by agreement with the
labels of held-out pairs, as users can; the gold reward is only looked at. All policies have the same rate. Each start
has reward models of its own, drawn and trained from other seeds.

Command: python -m rl_jax.study dmoerm --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 298 s in all, tuning not counted.
Expected: held_out/reward after 200,000 tokens: dmoerm 0.452 ± 0.016, gold 0.536 ± 0.006, inner 0.427 ± 0.079, mean
  0.447 ± 0.056, noise 0.392 ± 0.053, outer 0.466 ± 0.058, single 0.398 ± 0.079, unfused 0.458 ± 0.045, worst 0.440 ±
  0.045; 6 seeds (results/dmoerm.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import dmoerm
from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import above

BUDGET = 200_000
"""Some 160 iterations."""
STARTS = 3
TUNING_SEEDS = 3
SLOW, FAST = 3e-3, 1e-2
POINTS = {
  ("head",): ((1e-3, 2e-3, SLOW, 5e-3, FAST, 2e-2),),
  ("head", "experts"): ((SLOW,) * 3 + (FAST,) * 3, (SLOW, FAST, 3e-2) * 2),
  ("head", "experts", "fusion"): ((SLOW,) * 3 + (FAST,) * 3,) * 2 + ((1e-3, SLOW, FAST) * 2,),
}
"""Rates of the phases that a reward model has, at six points."""
MEMBERS = TUNING_SEEDS * 6
REWARD = "held_out/reward"
AGREEMENT, LABELS, ROUTED = "pairs/consistency", "pairs/label_consistency", "pairs/routed"
BEST, PROXY = "best_of/gold_16", "best_of/proxy_16"


def get_config() -> ConfigDict:
  """DMoERM and six other reward models, the gold reward, and labels that say nothing."""

  def entry(variant: str) -> dict:
    phases = tuple(dmoerm.reward_stages(variant))
    seeds = lambda stages, count: tuple(f"stages.{stage}.num_seeds={count}" for stage in stages)
    tuned = tuple(phase for phase in phases if phase != "router")
    points = zip((f"stages.{phase}.learning_rates" for phase in tuned), POINTS[tuned], strict=True)
    others = tuple(f"stages.{phase}.seed={7000 + 100 * index}" for index, phase in enumerate(phases))
    return {
      "config": f"dmoerm:{variant}".removesuffix(":"),
      "overrides": seeds(("warm_start", *phases), STARTS),
      "tuning_overrides": (*seeds(phases, TUNING_SEEDS), *seeds(tuned, MEMBERS), *others),
      "side_by_side": tuple(points),
    }

  entries = {variant or "dmoerm": entry(variant) for variant in dmoerm.FORMS}
  single = entries["single"]["overrides"]
  of_gold = ("method.name=rl_jax.methods.grpo", "method.kl_coefficient=0.0")
  entries["gold"] = {"config": "dmoerm:single", "overrides": (*single, *of_gold)}
  noise = ("task.label_flips=0.5", "stages.head.learning_rate=0.005")
  entries["noise"] = {"config": "dmoerm:single", "overrides": (*single, *noise)}
  agrees = lambda left, right: above(left, right, AGREEMENT)
  best = lambda right: above("dmoerm", right, BEST)
  ends = lambda left, right: above(left, right, REWARD)
  return common.study(
    token_budget=BUDGET,
    seeds=2 * STARTS,
    entries=entries,
    tuning_seeds=MEMBERS,
    tuning_budget=1,
    tuning_metric=LABELS,
    overrides=(
      "evaluation.prompts=256",
      "evaluation.samples_per_prompt=1",
      "evaluation.pass_at=()",
      "evaluation.greedy=False",
      "logging.samples=0",
      "logging.report=False",
    ),
    baseline="single",
    metrics=(REWARD, AGREEMENT, LABELS, ROUTED, "best_of/gold_1", BEST, PROXY, "proxy", "proxy_correlation", "kl"),
    claims={
      "a policy trained on the gold reward ends with a higher one than on DMoERM": ends("gold", "dmoerm"),
      "a single model agrees with preferences more often than one of labels that say nothing": agrees(
        "single", "noise"
      ),
      "DMoERM agrees with preferences more often than a model per kind": agrees("dmoerm", "outer"),
      "a model per kind does than a single model": agrees("outer", "single"),
      "DMoERM does than the mean of its experts": agrees("dmoerm", "unfused"),
      "DMoERM does than a single model": agrees("dmoerm", "single"),
      "it does than experts without kinds": agrees("dmoerm", "inner"),
      "it does than the mean of an ensemble": agrees("dmoerm", "mean"),
      "the best of 16 by DMoERM has a higher gold reward than by a single model": best("single"),
      "it has than by the mean of an ensemble": best("mean"),
      "it has than by the worst of an ensemble": best("worst"),
      "a policy trained on DMoERM ends with a higher gold reward than on a single model": ends("dmoerm", "single"),
      "it ends with a higher one than on the mean of an ensemble": ends("dmoerm", "mean"),
      "it ends with a higher one than on the worst of an ensemble": ends("dmoerm", "worst"),
      "the learned reward still orders its responses better than a single model's": above(
        "dmoerm", "single", "proxy_correlation"
      ),
    },
  )
