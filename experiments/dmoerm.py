"""GRPO on the reward of a mixture of experts, trained from noisy preferences (rl_jax/methods/dmoerm.py,
rl_jax/methods/learned_reward.py, rl_jax/tasks/tastes.py, arXiv 2403.01197).

Question: do experts by task and by capability make a reward that agrees with preferences more often, and that a policy
can follow further before it is worth less?

One chain of stages:

  warm_start   the policy's start: random letters
  router       learns the kind of a prompt
  head         phase 1: a model per kind, on overall labels of 60 % of the pairs
  experts      phase 2: adapters per aspect of the response, on labels of each aspect
  fusion       phase 3: an MLP over the experts, on overall labels of the other 40 %
  (the run)    GRPO on the learned reward; the gold reward is only shown

`best_of/gold_n` and `best_of/proxy_n` of a run are the gold and learned reward of the best of n responses of the start.
Variants have other reward models, trained on the same pairs: "single" is one model, "mean" and "worst" are ensembles of
three, "outer" has a model per kind and no experts, "inner" has experts and no kinds, "unfused" has the mean of experts
in place of a fusion. Those without experts take all overall labels at once. All take the same number of passes over
their pairs. In "easy" one in ten overall labels is wrong, in "hard" four are. "smoke" has labels without noise, and
ends in a minute or two.

Command: rl-jax train dmoerm --workdir=runs/dmoerm
Study: rl-jax study dmoerm --only=dmoerm --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 47 s.
Expected: held_out/reward after 200,000 tokens: dmoerm 0.452 ± 0.016; 6 seeds (results/dmoerm.json).
"""

from typing import Any

from ml_collections import ConfigDict

from rl_jax.experiments import common

KINDS, ASPECTS = 3, 3
FORMS: dict[str, dict[str, Any]] = {
  "": {"members": KINDS, "experts": ASPECTS},
  "unfused": {"members": KINDS, "experts": ASPECTS},
  "outer": {"members": KINDS},
  "inner": {"experts": ASPECTS},
  "single": {},
  "mean": {"members": 3, "combine": "mean"},
  "worst": {"members": 3, "combine": "worst"},
}
"""Fields of the reward model by variant."""
FLIPS = {"easy": 0.1, "hard": 0.4}
"""The ends of the task's difficulty."""
PAIRS, PASSES = 8192, 4
SIZES = {"width": 16, "layers": 2, "heads": 2, "key_value_heads": 1, "head_width": 8, "feed_forward": 32}
FIRST_PART, LAST_PART, ALL = (0.0, 0.6), (0.6, 1.0), (0.0, 1.0)
"""Pairs of phases 1 and 2, of phase 3, and of a model with phase 1 alone."""


def reward_stages(variant: str) -> dict:
  """The stages of a variant's reward model, in their order, each from the one before."""
  form = FORMS[variant]
  phases = {"head": FIRST_PART if "experts" in form else ALL}
  if "combine" not in form and "members" in form:
    phases = {"router": ALL} | phases
  if "experts" in form:
    phases |= {"experts": FIRST_PART, "fusion": LAST_PART}
  if variant == "unfused":
    del phases["fusion"]
  stages, before = {}, ""
  for index, (phase, part) in enumerate(phases.items()):
    method = {"name": "rl_jax.methods.dmoerm", "phase": phase, "part": part, "best_of": 0}
    stages[phase] = common.tuned("") | {
      "method": method | {"reward": {"init_from": before, "model": dict(form)}},
      "seed": 5000 + 100 * index,
      "num_iterations": 40 if phase == "router" else round(PASSES * (part[1] - part[0]) * PAIRS / 128 / 20) * 20,
      "prompts_per_iteration": 128,
      "completions_per_prompt": 2,
      "minibatches_per_epoch": 1,
      "learning_rate": 1e-2,
      "optimizer": {"schedule": "cosine", "warmup_updates": 10},
      "evaluation": {"every_iterations": 40},
      "checkpoint": {"every_iterations": 40},
      "logging": {"every_iterations": 20},
    }
    before = f"{phase}#reward"
  return stages


def get_config(variant: str = "") -> ConfigDict:
  config = common.policy_gradient("rl_jax.methods.learned_reward")
  config.task = {"name": "rl_jax.tasks.tastes", "pool_size": PAIRS, "alphabet": 5, "response_letters": 4}
  config.model.update(SIZES)
  name = variant if variant in FORMS else ""
  form, stages = FORMS[name], reward_stages(name)
  config.stages = {"warm_start": {**common.warm_start(), "num_iterations": 100}, **stages}
  last = list(stages)[-1]
  model = {"name": "rl_jax.models.reward_experts", **form, "readout": last}
  config.method.reward = {"init_from": f"{last}#reward", "model": model}
  config.checkpoint.best_metric = "held_out/reward"
  if variant in FLIPS:
    config.task.label_flips = FLIPS[variant]
  if variant in (*FORMS, *FLIPS):
    return config
  config = common.variant(config, variant)
  if variant == "smoke":
    config.task.update({"pool_size": 4096, "label_flips": 0.0, "aspect_flips": 0.0})
    config.method.update({"best_of": 4, "best_of_prompts": 16})
    for name in stages:
      config.stages[name].update({"num_iterations": 60, "prompts_per_iteration": 64, "learning_rate": 3e-2})
  return config
