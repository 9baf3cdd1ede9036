"""Are scarce labels better spent on a teacher that then judges every token of a student, or on the student itself?

The paper claims that, at equal labels, the student of a raw teacher is worse than GRPO on the student, while the
student of a teacher trained with the labels is better; that the bridge (forward KL on the teacher's responses) followed
by distillation on the student's responses beats distillation alone, which in turn beats the teacher's samples as hard
labels. Distillation comes closer to the teacher on the student's own states (`teacher/reverse_kl`), which samples of
the teacher do not cover.

The task is deceptive chains of four operations, where the likeliest response of both starts is wrong. A label is a
response that is verified and learned from. GRPO on the teacher takes 120 iterations of 128 responses, 15,360 labels,
once for each start; GRPO on the student (`cold`) has equally many at the budget, at 11.4 tokens per response. The
others spend only the teacher's labels, `raw` none at all. A transfer costs tokens instead: the first of its two parts,
60 iterations before the run, is equally long in all four entries and is not part of the budget, and neither is the
training of teachers.

There are no gates: one requires that the likeliest response is wrong where an entry starts, but transfers start where
their first part has ended. `no_reward` is the control of `cold`. Every entry takes four optimiser steps per iteration
and is tuned in the same way: over three learning rates, from separate starts and teachers, on half of the budget; the
rates of the stages are fixed.

Command: python -m rl_jax.study opd --results=experiments/results
Hardware: 2 threads of an AMD EPYC; 240 s in all, tuning not counted.
Expected: held_out/sampled_accuracy after 175,000 tokens: bridged 0.917 ± 0.039, cold 0.935 ± 0.015, opd_only 0.932 ±
  0.022, raw 0.141 ± 0.016, teacher_samples 0.878 ± 0.066; 6 seeds (results/opd.json).
"""

from ml_collections import ConfigDict

from rl_jax.experiments.studies import common
from rl_jax.experiments.studies.common import ACCURACY, GREEDY, LENGTH, above, below

BUDGET = 175_000
STAGES = ("warm_start", "critic", "teacher_start", "trained_teacher", "bridge")
REVERSE, FORWARD = "teacher/reverse_kl", "teacher/forward_kl"


def get_config() -> ConfigDict:
  """GRPO on the student, four ways to learn from a teacher, and no reward."""
  entries = {name: {"config": f"opd:{name}", "overrides": ()} for name in ("cold", "raw", "bridged", "opd_only")}
  return common.tuned_study(
    token_budget=BUDGET,
    entries={
      **entries,
      "teacher_samples": {"config": "opd:teacher_samples", "overrides": ()},
      "no_reward": {"config": "opd:cold", "overrides": ("method.name=rl_jax.methods.no_reward",)},
    },
    **common.SMALL,
    stages=STAGES,
    tuning_overrides=("stages.teacher_start.seed=1600",),
    baseline="cold",
    metrics=(ACCURACY, GREEDY, LENGTH, REVERSE, FORWARD),
    gates={},
    claims={
      "the student of a raw teacher is less accurate than GRPO on the student": below("raw", "cold", ACCURACY),
      "the student of a trained teacher is more accurate than GRPO on the student": above("bridged", "cold"),
      "it is more accurate than that of the raw teacher": above("bridged", "raw"),
      "the bridge and distillation are more accurate than distillation alone": above("bridged", "opd_only"),
      "distillation alone is more accurate than the teacher's samples": above("opd_only", "teacher_samples"),
      "it is nearer to the teacher on the student's own states": below("opd_only", "teacher_samples", REVERSE),
    },
  )
