"""Can a real model learn from a copy of itself that was trained by reward, without a reward of its own?

The teacher is SmolLM2-135M-Instruct after GRPO on the easy arithmetic of experiments/smollm2_grpo.py, a stage of this
config. The student, the model as distributed, then learns the teacher's distribution on its own responses, by the
reverse KL over the whole vocabulary of 49,152 tokens, without storing logits (rl_jax/methods/distillation.py).
`python -m rl_jax.fetch smollm2-135m-instruct` downloads the model, `make tasks` installs the packages.

Variant "smoke" ends in a few minutes and learns nothing.

Command: python -m rl_jax.train --config=experiments/smollm2_distillation.py --workdir=runs/smollm2_distillation
Hardware: 2 threads of an AMD EPYC; 266 s, without the teacher's.
Expected: held_out/sampled_accuracy at iteration 20: 0.536; 1 seed (results/smollm2_distillation.json). The start has
  0.195, the teacher 0.539.
"""

from ml_collections import ConfigDict

from rl_jax.experiments import smollm2_grpo


def get_config(variant: str = "") -> ConfigDict:
  """One seed: a task that is scored in Python has a run per seed."""
  if variant not in ("", "smoke"):
    raise ValueError(f'variant {variant!r} is not known: leave it out, or take "smoke"')
  config = smollm2_grpo.get_config(variant)
  trained = {"method": config.method.to_dict(), "init_from": "", "seed": 100, "num_iterations": config.num_iterations}
  config.stages = {"trained_teacher": trained}
  config.method = {
    "name": "rl_jax.methods.distillation",
    "form": "reverse_kl",
    "curriculum": "epochs",
    "held_out_prompts": 0 if variant else 24,
    "teacher": {"init_from": "trained_teacher", "model": {}},
  }
  config.model.logprobs = "recomputed"  # the student's logits are not kept either
  if not variant:
    config.stages.trained_teacher.num_iterations = 30
    config.num_iterations = 20
    config.evaluation.every_iterations = 10
  return config
