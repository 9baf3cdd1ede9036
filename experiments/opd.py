"""GRPO on a student after distillation from a trained teacher, token by token (rl_jax/methods/opd.py,
rl_jax/methods/distillation.py, arXiv 2605.12483).

Question: are scarce labels better spent on a teacher that then judges every token of a student?

One chain of stages, on deceptive chains of four operations, where few of the student's first responses are right:

  warm_start       the student's start: supervised, on imperfect demonstrations
  teacher_start    the teacher's start, three times as large
  trained_teacher  GRPO on the teacher, which spends the labels
  bridge           the student learns the teacher's distribution on the teacher's responses, by the forward KL
  distillation     the student learns it on its own responses, by their sampled tokens
  (the run)        GRPO on the student, with labels of its own

A label is a response that is verified and learned from. The verifier also scores the responses of `bridge` and
`distillation`, for the metric `reward`, but nothing learns from these scores.

Variants end with the transfer, for a comparison at equal labels: "bridged" is `bridge`, then distillation; "raw" has
the teacher's start as its teacher; in "opd_only" both parts are on-policy, in "teacher_samples" both learn the
teacher's responses as hard labels. "cold" is GRPO on the student's start. The other variants are those of common.py.

Command: rl-jax train opd --workdir=runs/opd
Study: rl-jax study opd --only=bridged --results=FOLDER
Hardware: 2 threads of an AMD EPYC; 54 s.
Expected: held_out/sampled_accuracy after 175,000 tokens: bridged 0.917 ± 0.039; 6 seeds (results/opd.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments import common

TEACHER = {"width": 128, "layers": 3, "heads": 4, "key_value_heads": 2, "head_width": 16, "feed_forward": 256}
SMALL_TEACHER = {"width": 24, "layers": 2, "heads": 4, "key_value_heads": 2, "head_width": 8, "feed_forward": 48}
"""Teacher of the variant "smoke"."""

TRANSFERS = {
  "bridged": ("trained_teacher", "forward_kl", "opd"),
  "raw": ("teacher_start", "forward_kl", "opd"),
  "opd_only": ("trained_teacher", "opd", "opd"),
  "teacher_samples": ("trained_teacher", "nll", "nll"),
}
"""The teacher, and the student's ways to learn from it in the first and in the second part."""


def method(form: str, teacher: dict) -> dict:
  """The section `method` of a way to learn from a teacher."""
  if form == "opd":
    return {"name": "rl_jax.methods.opd", "teacher": teacher}
  return {"name": "rl_jax.methods.distillation", "form": form, "rollout_by": "teacher", "teacher": teacher}


def stage(init_from: str, own_method: dict, **fields) -> dict:
  """A stage between a start and the run. All stages set the same fields: one left out would be the next stage's."""
  own = {"init_from": init_from, "method": own_method, "checkpoint": {"every_iterations": 20}}
  return common.tuned("") | own | fields


def get_config(variant: str = "") -> ConfigDict:
  config = common.policy_gradient("rl_jax.methods.grpo")
  model = SMALL_TEACHER if variant == "smoke" else TEACHER
  name, first, second = TRANSFERS.get(variant, TRANSFERS["bridged"])
  teacher = {"init_from": name, "model": model}
  grpo = {"name": "rl_jax.methods.grpo"}
  config.stages.trained_teacher = stage(
    "teacher_start", grpo, seed=2100, num_iterations=120, learning_rate=2e-4, model=model
  )
  config.stages.bridge = stage("warm_start", method(first, teacher), seed=2200, learning_rate=1e-3)
  config.stages.distillation = stage("bridge", method(second, teacher), seed=2300, learning_rate=5e-4)
  ends_here = variant in ("", "cold", *TRANSFERS)
  config = common.variant(config, "deceptive_4" if ends_here else variant)
  config.stages.teacher_start = {**config.stages.warm_start.to_dict(), "seed": 1100, "model": model}
  if variant == "smoke":
    for name in ("trained_teacher", "bridge", "distillation"):
      config.stages[name].update({"learning_rate": 1e-2, "minibatches_per_epoch": 1})
    for name in ("bridge", "distillation"):
      config.stages[name].method.held_out_prompts = 0  # two more samplers to compile
  config.init_from = {"cold": "warm_start"}.get(variant, "bridge" if variant in TRANSFERS else "distillation")
  if variant in TRANSFERS:
    config.method = config.stages.distillation.method
    del config.stages.distillation
  return config
